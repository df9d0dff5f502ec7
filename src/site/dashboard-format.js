// Numbers as people read them. Whatever is not known, or is no number, is a dash.

export const NOTHING = "–";

// Keeps a number and its unit on one line.
const SPACE = "\u00a0";

const known = (number) => typeof number === "number" && !Number.isNaN(number);

// At most three digits that count, and no zeros after the point for show.
const brief = (number) => String(Number(number.toPrecision(number >= 100 ? Math.ceil(Math.log10(number + 1)) : 3)));

function scaled(number, base, units) {
  let rest = number;
  let unit = 0;
  while (Math.abs(rest) >= base * 0.9995 && unit + 1 < units.length) {
    rest /= base;
    unit += 1;
  }
  return units[unit] ? `${brief(rest)}${SPACE}${units[unit]}` : brief(rest);
}

// How many there are: to the last one, up to a million.
export function count(number) {
  if (!known(number)) {
    return NOTHING;
  }
  return number < 1e6 ? Math.round(number).toLocaleString("en") : scaled(number, 1000, ["", "k", "M", "G", "T"]);
}

// How many in each second.
export function rate(number) {
  if (!known(number)) {
    return NOTHING;
  }
  if (number >= 1e5) {
    return scaled(number, 1000, ["", "k", "M", "G"]);
  }
  if (number >= 100) {
    return Math.round(number).toLocaleString("en");
  }
  return number > 0 && number < 0.05 ? "<0.1" : String(Number(number.toFixed(1)));
}

export function bytes(number) {
  if (!known(number)) {
    return NOTHING;
  }
  return number === Infinity ? "∞" : scaled(number, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
}

// A part of a whole, given as 0 to 1. Small is not nothing, and nearly all is not all.
export function share(part) {
  if (!known(part)) {
    return NOTHING;
  }
  const percent = part * 100;
  if (percent > 0 && percent < 0.1) {
    return `<0.1${SPACE}%`;
  }
  if (percent > 99.9 && percent < 100) {
    return `>99.9${SPACE}%`;
  }
  return `${Number(percent.toFixed(1))}${SPACE}%`;
}

// How long a request took, given in seconds.
export function duration(seconds) {
  if (!known(seconds)) {
    return NOTHING;
  }
  if (seconds === Infinity) {
    return `>10${SPACE}s`;
  }
  return seconds < 1 ? scaled(seconds * 1e6, 1000, ["µs", "ms", "s"]) : `${brief(seconds)}${SPACE}s`;
}

// How long something has been going on: its two largest units.
export function span(seconds) {
  if (!known(seconds) || seconds < 0) {
    return NOTHING;
  }
  let rest = Math.floor(seconds);
  const parts = [];
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const number = Math.floor(rest / size);
    rest -= number * size;
    if (number > 0 || parts.length > 0 || unit === "s") {
      parts.push(`${number}${SPACE}${unit}`);
    }
  }
  return parts.slice(0, 2).join(" ");
}

const two = (number) => String(number).padStart(2, "0");

export function clock(seconds, withSeconds = true) {
  const time = new Date(seconds * 1000);
  const minutes = `${two(time.getHours())}:${two(time.getMinutes())}`;
  return withSeconds ? `${minutes}:${two(time.getSeconds())}` : minutes;
}
