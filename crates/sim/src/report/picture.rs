//! A picture, in the page or as a file.

use super::markup::{Element, label, length, rect};
use super::style;

/// Width of all pictures. Page and paper scale them.
pub(super) const WIDTH: f64 = 1000.0;

/// An SVG.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Name of the file without its extension.
    pub name: &'static str,
    pub title: String,
    /// Description of the content in words.
    pub description: String,
    height: f64,
    content: String,
}

impl Picture {
    pub(super) fn new(name: &'static str, title: String, description: String) -> Self {
        Self { name, title, description, height: 0.0, content: String::new() }
    }

    /// Adds the content below the title, and the height of the picture.
    pub(super) fn drawn(self, height: f64, content: impl IntoIterator<Item = Element>) -> Self {
        let content = content.into_iter().map(|element| element.to_string()).collect();
        Self { height, content, ..self }
    }

    /// Returns the picture as a file.
    pub fn file(&self) -> String {
        let style = Element::new("style").markup(&format!("\n{}", style::picture()));
        let whole = self.element().set("width", WIDTH).set("height", length(self.height));
        whole
            .markup(&style.to_string())
            .add(rect((0.0, 0.0), (WIDTH, self.height)).class("paper"))
            .markup(&self.inside())
            .to_string()
    }

    /// Returns the picture for a page that has the style.
    pub(super) fn inline(&self) -> Element {
        self.element().markup(&self.inside())
    }

    fn element(&self) -> Element {
        let name = self.name;
        let labels = format!("{name}-title {name}-description");
        Element::new("svg")
            .set("xmlns", "http://www.w3.org/2000/svg")
            .set("viewBox", format!("0 0 {WIDTH} {}", length(self.height)))
            .set("role", "img")
            .set("aria-labelledby", labels)
            .add(Element::of("title", &self.title).set("id", format!("{name}-title")))
            .add(Element::of("desc", &self.description).set("id", format!("{name}-description")))
    }

    fn inside(&self) -> String {
        label(0.0, 18.0, "title", &self.title).to_string() + &self.content
    }
}
