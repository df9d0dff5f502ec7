//! Which text format a scraper gets.

/// A text format of a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text format 0.0.4, which everybody reads.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.0, for those who ask for it.
    OpenMetrics,
}

impl Exposition {
    /// What the `Content-Type` field of the answer says.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format for a scraper that sent this `Accept` field; the values of several fields are joined by commas.
    ///
    /// OpenMetrics has to be named, a wildcard does not ask for it, and has to be wanted at least as much as plain text.
    /// A scraper that accepts neither gets plain text all the same.
    #[must_use]
    pub fn from_accept(accept: Option<&str>) -> Self {
        let (mut open_metrics, mut plain) = (Wish::default(), Wish::default());
        for range in accept.unwrap_or_default().split(',').filter_map(MediaRange::parse) {
            match (range.media_type.as_str(), range.version.as_deref()) {
                ("application/openmetrics-text", None) => open_metrics.note(0, range.quality),
                ("application/openmetrics-text", Some("1.0.0")) => open_metrics.note(1, range.quality),
                ("*/*", None) => plain.note(0, range.quality),
                ("text/*", None) => plain.note(1, range.quality),
                ("text/plain", None) => plain.note(2, range.quality),
                ("text/plain", Some("0.0.4")) => plain.note(3, range.quality),
                _ => {}
            }
        }
        let wanted = open_metrics.quality > 0 && open_metrics.quality >= plain.quality;
        if wanted { Self::OpenMetrics } else { Self::Prometheus }
    }
}

/// How much one format is wanted: the quality, in thousandths, of the most specific range that it falls into.
#[derive(Default)]
struct Wish {
    specificity: Option<u8>,
    quality: u16,
}

impl Wish {
    fn note(&mut self, specificity: u8, quality: u16) {
        if self.specificity < Some(specificity) {
            *self = Self { specificity: Some(specificity), quality };
        }
    }
}

/// One element of an `Accept` field. Other parameters than these two do not matter to the choice.
struct MediaRange {
    media_type: String,
    version: Option<String>,
    quality: u16,
}

impl MediaRange {
    /// `None` if it has a quality that is not a number from 0 to 1; such an element asks for nothing.
    fn parse(element: &str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        let media_type = parts.next()?.to_ascii_lowercase();
        let mut range = Self { media_type, version: None, quality: 1000 };
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("q") => range.quality = thousandths(value)?,
                name if name.eq_ignore_ascii_case("version") => range.version = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(range)
    }
}

fn thousandths(quality: &str) -> Option<u16> {
    let quality: f32 = quality.parse().ok()?;
    (0.0..=1.0).contains(&quality).then_some((quality * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_that_it_wants_most() {
        let (plain, open) = (Exposition::Prometheus, Exposition::OpenMetrics);
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                            application/openmetrics-text;version=0.0.1;q=0.4,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, wanted) in [
            (prometheus_2, open),
            (prometheus_3, open),
            ("", plain),
            ("*/*", plain),
            ("application/*", plain),
            ("application/json", plain),
            ("text/plain", plain),
            ("application/openmetrics-text", open),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", open),
            ("application/openmetrics-text; version=2.0.0", plain),
            ("application/openmetrics-text; version=0.0.1", plain),
            ("application/openmetrics-text;q=0", plain),
            ("application/openmetrics-text;q=0.000, */*;q=0", plain),
            ("application/openmetrics-text;q=nonsense", plain),
            ("application/openmetrics-text;q=2", plain),
            ("application/openmetrics-text, text/plain", open),
            ("text/plain;q=0.5, application/openmetrics-text;q=0.4", plain),
            ("text/plain;q=0.4 , application/openmetrics-text ; q=0.5", open),
            ("text/*;q=0.9, text/plain;q=0.1, application/openmetrics-text;q=0.5", open),
            ("*/*, text/plain;q=0.1, application/openmetrics-text;q=0.5", open),
            ("*/*, application/openmetrics-text;q=0.5", plain),
            (";;,=,;q=,application/openmetrics-text", open),
        ] {
            assert_eq!(Exposition::from_accept(Some(accept)), wanted, "{accept}");
        }
        assert_eq!(Exposition::from_accept(None), plain);
    }
}
