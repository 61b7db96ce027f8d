//! Elements of a page or a picture, written so that they are XML and HTML alike.

use std::fmt;
use std::fmt::Write;

/// An element with its attributes and what is in it. Text is escaped, whatever a cluster is called.
#[derive(Debug, Clone)]
pub(super) struct Element {
    name: &'static str,
    attributes: String,
    inside: Option<String>,
}

impl Element {
    /// One that has an end tag, also when there is nothing in it.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, attributes: String::new(), inside: Some(String::new()) }
    }

    /// One that cannot have anything in it.
    pub(super) fn void(name: &'static str) -> Self {
        Self { name, attributes: String::new(), inside: None }
    }

    /// With text in it.
    pub(super) fn of(name: &'static str, text: &str) -> Self {
        Self::new(name).text(text)
    }

    pub(super) fn set(mut self, name: &str, value: impl fmt::Display) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.attributes, " {name}=\"{}\"", escape(&value.to_string()));
        self
    }

    pub(super) fn class(self, class: impl fmt::Display) -> Self {
        self.set("class", class)
    }

    /// A length in a picture, to a hundredth.
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

    /// What is markup already.
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

/// A line of text in a picture; x and y are those of its beginning, or of its middle or end with class `middle` or `end`.
pub(super) fn label(x: f64, y: f64, class: &str, text: &str) -> Element {
    Element::of("text", text).class(class).at("x", x).at("y", y)
}

pub(super) fn line(from: (f64, f64), to: (f64, f64), class: &str) -> Element {
    Element::void("line").class(class).at("x1", from.0).at("y1", from.1).at("x2", to.0).at("y2", to.1)
}

pub(super) fn rect((left, top): (f64, f64), (width, height): (f64, f64)) -> Element {
    Element::new("rect").at("x", left).at("y", top).at("width", width).at("height", height)
}

/// What a pointer that rests on an element is told.
pub(super) fn hint(text: &str) -> Element {
    Element::of("title", text)
}

/// To a hundredth, without what a shorter number would say as well.
pub(super) fn length(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// How wide a text is at most likely to be: fonts differ.
pub(super) fn width(text: &str, font_px: f64) -> f64 {
    0.58 * font_px * text.chars().count() as f64
}

/// As much of a text as there is room for.
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

/// Also without what XML cannot say at all.
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
    fn text_is_text_whatever_it_says() {
        let element = Element::of("text", "<script>&\"'\u{0}").set("data", "a\"b<c");
        let expected = "<text data=\"a&quot;b&lt;c\">&lt;script&gt;&amp;&quot;&#39;\u{fffd}</text>\n";
        assert_eq!(element.to_string(), expected);
    }

    #[test]
    fn an_empty_element_has_an_end_unless_it_is_void() {
        assert_eq!(Element::new("td").to_string(), "<td></td>\n");
        assert_eq!(Element::void("path").class("a").to_string(), "<path class=\"a\"/>\n");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(fit("aws-use1", 12.0, 100.0), "aws-use1");
        assert_eq!(fit("a-cluster-with-a-long-name", 12.0, 100.0), "a-cluster-w…");
        assert_eq!(fit("name", 12.0, 0.0), "…");
    }

    #[test]
    fn lengths_are_short() {
        let lengths = [(1.0, "1"), (0.126, "0.13"), (-0.001, "0"), (120.0, "120"), (-2.5, "-2.5")];
        for (value, expected) in lengths {
            assert_eq!(length(value), expected);
        }
    }
}
