//! Elements of a page or a picture. The text is valid XML and HTML.

use std::fmt;
use std::fmt::Write;

/// An element with attributes and content. Text is escaped, because a cluster can have any name.
#[derive(Debug, Clone)]
pub(super) struct Element {
    name: &'static str,
    attributes: String,
    inside: Option<String>,
}

impl Element {
    /// Returns an element with an end tag, even if it is empty.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, attributes: String::new(), inside: Some(String::new()) }
    }

    /// Returns an element without content and end tag.
    pub(super) fn void(name: &'static str) -> Self {
        Self { name, attributes: String::new(), inside: None }
    }

    /// Returns an element with text.
    pub(super) fn of(name: &'static str, text: &str) -> Self {
        Self::new(name).text(text)
    }

    /// Adds an attribute.
    pub(super) fn set(mut self, name: &str, value: impl fmt::Display) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.attributes, " {name}=\"{}\"", escape(&value.to_string()));
        self
    }

    pub(super) fn class(self, class: impl fmt::Display) -> Self {
        self.set("class", class)
    }

    /// Adds an attribute with a length, to a hundredth.
    pub(super) fn at(self, name: &str, value: f64) -> Self {
        self.set(name, length(value))
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.markup(&escape(text))
    }

    pub(super) fn add(self, child: Self) -> Self {
        self.markup(&child.to_string())
    }

    pub(super) fn add_all(self, children: impl IntoIterator<Item = Self>) -> Self {
        children.into_iter().fold(self, Self::add)
    }

    /// Adds text that is markup already.
    pub(super) fn markup(mut self, markup: &str) -> Self {
        self.inside.get_or_insert_default().push_str(markup);
        self
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, attributes, inside } = self;
        match inside {
            None => writeln!(f, "<{name}{attributes}/>"),
            Some(inside) => writeln!(f, "<{name}{attributes}>{inside}</{name}>"),
        }
    }
}

/// Returns a line of text in a picture. `x` is its start, or its middle or end with class `middle` or `end`.
pub(super) fn label(x: f64, y: f64, class: &str, text: &str) -> Element {
    Element::of("text", text).class(class).at("x", x).at("y", y)
}

pub(super) fn line(from: (f64, f64), to: (f64, f64), class: &str) -> Element {
    Element::void("line").class(class).at("x1", from.0).at("y1", from.1).at("x2", to.0).at("y2", to.1)
}

pub(super) fn rect((left, top): (f64, f64), (width, height): (f64, f64)) -> Element {
    Element::new("rect").at("x", left).at("y", top).at("width", width).at("height", height)
}

/// Returns a tooltip.
pub(super) fn hint(text: &str) -> Element {
    Element::of("title", text)
}

/// Formats a length to a hundredth, without trailing zeros.
pub(super) fn length(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Returns a generous estimate of the width of a text. Fonts differ.
pub(super) fn width(text: &str, font_px: f64) -> f64 {
    0.58 * font_px * text.chars().count() as f64
}

/// Cuts a text to the available width.
pub(super) fn fit(text: &str, font_px: f64, room: f64) -> String {
    if width(text, font_px) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        if width(&short, font_px) + 2.0 * font_px > room {
            break;
        }
        short.push(c);
    }
    short.push('…');
    short
}

/// Escapes a text, and replaces characters that XML does not allow.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() && !c.is_ascii_whitespace() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let element = Element::of("text", "<script>&\"'\u{0}").set("data", "a\"b<c");
        let expected = "<text data=\"a&quot;b&lt;c\">&lt;script&gt;&amp;&quot;&#39;\u{fffd}</text>\n";
        assert_eq!(element.to_string(), expected);
    }

    #[test]
    fn empty_element_has_an_end_tag_unless_it_is_void() {
        assert_eq!(Element::new("td").to_string(), "<td></td>\n");
        assert_eq!(Element::void("path").class("a").to_string(), "<path class=\"a\"/>\n");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(fit("aws-use1", 12.0, 100.0), "aws-use1");
        assert_eq!(fit("a-cluster-with-a-long-name", 12.0, 100.0), "a-cluster-w…");
        assert_eq!(fit("name", 12.0, 0.0), "…");
    }

    #[test]
    fn lengths_have_no_trailing_zeros() {
        let lengths = [(1.0, "1"), (0.126, "0.13"), (-0.001, "0"), (120.0, "120"), (-2.5, "-2.5")];
        for (value, expected) in lengths {
            assert_eq!(length(value), expected);
        }
    }
}
