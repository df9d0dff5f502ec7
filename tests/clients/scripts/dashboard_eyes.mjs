// Scripts that are run inside the page, to see of it what a person would see.

// How many pixels of the canvas `arguments[0]` have a colour: its axes and its grid are nearly grey.
export const hasLinesOn = `
    const canvas = document.querySelector(arguments[0]);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let coloured = 0;
    for (let at = 0; at < data.length; at += 4) {
        const [red, green, blue, alpha] = data.slice(at, at + 4);
        if (alpha > 200 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) {
            coloured += 1;
        }
    }
    return coloured;`;

// Every text that is to be seen, with the contrast between it and what is behind it.
export const contrastsOf = `
    const rgba = (text) => {
        const [red, green, blue, alpha = 1] = text.match(/[\\d.]+/g).map(Number);
        return { colour: [red, green, blue], alpha };
    };
    const luminance = (colour) => {
        const linear = colour.map((it) => it / 255).map((it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const behind = (element) => {
        for (let at = element; at !== null; at = at.parentElement) {
            const { colour, alpha } = rgba(getComputedStyle(at).backgroundColor);
            if (alpha === 1) {
                return colour;
            }
        }
        return [255, 255, 255];
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const contrasts = [];
    while (texts.nextNode()) {
        const { textContent, parentElement: element } = texts.currentNode;
        if (textContent.trim() === "" || element.getClientRects().length === 0) {
            continue;
        }
        const style = getComputedStyle(element);
        const [one, other] = [rgba(style.color).colour, behind(element)].map(luminance);
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        const size = parseFloat(style.fontSize);
        const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        contrasts.push({ text: textContent.trim().slice(0, 40), ratio: Number(ratio.toFixed(2)), isLarge });
    }
    return contrasts;`;
