//! Colors and fonts, for light and dark screens and for paper.

use std::fmt::Write;

/// Number of colors. Further items repeat them, hatched or dashed.
pub(super) const COLORS: usize = 8;

/// Number of items that can be told apart: each color twice.
pub(super) const PAINTS: usize = 2 * COLORS;

/// A color, and black or white for text on it. The colors are as far apart as possible for all three kinds of color
/// blindness (Machado 2009, distances in OKLab), each with a contrast of at least 2.7 to the paper.
type Color = (&'static str, &'static str);

/// Colors of the page and of the items.
struct Scheme {
    paper: &'static str,
    ink: &'static str,
    soft: &'static str,
    faint: &'static str,
    colors: [Color; COLORS],
}

const LIGHT: Scheme = Scheme {
    paper: "#ffffff",
    ink: "#1b1f24",
    soft: "#59626c",
    faint: "#dfe3e8",
    colors: [
        ("#2749b2", "#fff"),
        ("#ea7a11", "#000"),
        ("#62a983", "#000"),
        ("#910a65", "#fff"),
        ("#2f7f9f", "#fff"),
        ("#652712", "#fff"),
        ("#ab69f2", "#000"),
        ("#716109", "#fff"),
    ],
};

const DARK: Scheme = Scheme {
    paper: "#15181c",
    ink: "#e6e9ed",
    soft: "#a3acb6",
    faint: "#343a42",
    colors: [
        ("#5a7df0", "#000"),
        ("#d68f0e", "#000"),
        ("#1dc69c", "#000"),
        ("#b15b97", "#fff"),
        ("#8be8fa", "#000"),
        ("#ce3312", "#fff"),
        ("#c49bf6", "#000"),
        ("#dbdf75", "#000"),
    ],
};

const LETTERS: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

/// Returns the CSS of a picture, alone or in the page.
pub(super) fn picture() -> String {
    let shapes = format!(
        "svg text{{font:12px {LETTERS}}}\nsvg .title{{font-size:16px;font-weight:600}}\nsvg .head{{font-weight:600}}\n\
         svg .small{{font-size:11px}}\nsvg .middle{{text-anchor:middle}}\nsvg .end{{text-anchor:end}}\n\
         svg .halo{{stroke-width:3;stroke-linejoin:round;paint-order:stroke}}\n\
         .line{{fill:none;stroke-width:1.5;stroke-linejoin:round}}\n.wide{{stroke-width:3.5}}\n.dashed{{stroke-dasharray:5 3}}\n\
         .thin{{fill:none;stroke-width:.75}}\n.limit{{stroke-width:1.25}}\n.target{{stroke-dasharray:7 4}}\n\
         .shade{{fill-opacity:.05}}\n.edge{{stroke-dasharray:2 3}}\n.under{{stroke-width:2}}\n"
    );
    schemes(&shapes, |scheme| {
        let Scheme { paper, ink, soft, faint, colors } = scheme;
        let mut css = format!(
            ".paper{{fill:{paper}}}\nsvg text,.ink,.shade{{fill:{ink}}}\n.limit,.edge{{stroke:{ink}}}\nsvg .soft{{fill:{soft}}}\n\
             .other{{fill:{soft}}}\n.thin,.axis,.leader{{stroke:{soft}}}\n.leader{{stroke-width:.75;fill:none}}\n\
             .grid{{stroke:{faint}}}\nsvg .halo{{stroke:{paper}}}\n.event{{fill:{faint}}}\n.area{{stroke:{paper};stroke-width:.75}}\n.under{{stroke:{paper}}}\n\
             .hatch{{stroke:{paper};stroke-width:1}}\n.hollow{{fill:{paper};stroke-width:2.5}}\nsvg .onother{{fill:{paper};stroke:{soft}}}\n"
        );
        for (k, (colour, on)) in colors.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ =
                writeln!(css, ".f{k}{{fill:{colour}}}.s{k}{{stroke:{colour}}}svg .on{k}{{fill:{on};stroke:{colour}}}");
        }
        css
    })
}

/// Returns the CSS of the page without its pictures.
pub(super) fn page() -> String {
    let shapes = format!(
        ":root{{color-scheme:light dark}}\nbody{{font:15px/1.5 {LETTERS};max-width:1040px;margin:2rem auto;padding:0 1rem}}\n\
         h1{{font-size:1.6rem;margin:0}}\nh2{{font-size:1.15rem;margin:2.2rem 0 .4rem;break-after:avoid}}\n\
         p{{max-width:56rem}}\nsvg{{width:100%;height:auto;display:block}}\nfigure{{margin:2rem 0;overflow-x:auto}}\n\
         .scroll{{overflow-x:auto}}\n\
         table{{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}}\n\
         th,td{{padding:.25rem 0 .25rem 1.2rem;text-align:right;white-space:nowrap}}\n\
         th{{white-space:normal;vertical-align:bottom}}\n\
         th:first-child,td:first-child{{padding-left:0;text-align:left}}\n.shown td{{font-weight:600}}\n\
         .facts{{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;font-size:.9rem}}\n.facts dd{{margin:0}}\n\
         @media print{{body{{max-width:none;margin:0;padding:0;font-size:11px}}.facts,table{{font-size:10px}}\
         figure,.scroll{{overflow:visible;break-inside:avoid}}}}\n"
    );
    schemes(&shapes, |scheme| {
        let Scheme { paper, ink, soft, faint, .. } = scheme;
        format!(
            "body{{background:{paper};color:{ink}}}\ndt,.lead{{color:{soft}}}\n\
             th,td{{border-bottom:1px solid {faint}}}\n"
        )
    })
}

/// Returns the CSS for both schemes. Paper is always light.
fn schemes(shapes: &str, colors: impl Fn(&Scheme) -> String) -> String {
    format!("{shapes}{}@media screen and (prefers-color-scheme:dark){{\n{}}}\n", colors(&LIGHT), colors(&DARK))
}

/// Color and pattern of an item, by its rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain(usize),
    /// The second item with this color.
    Hatched(usize),
    /// An item beyond the available colors.
    Other,
}

impl Paint {
    /// Returns the paint of the item with this rank.
    pub(super) fn of_rank(rank: usize) -> Self {
        match rank {
            0..COLORS => Self::Plain(rank),
            COLORS..PAINTS => Self::Hatched(rank - COLORS),
            _ => Self::Other,
        }
    }

    /// Returns the classes of a line.
    pub(super) fn line(self) -> String {
        match self {
            Self::Plain(k) => format!("line s{k}"),
            Self::Hatched(k) => format!("line dashed s{k}"),
            Self::Other => "thin".to_owned(),
        }
    }

    /// Returns the class of an outline.
    pub(super) fn stroke(self) -> String {
        match self {
            Self::Plain(k) | Self::Hatched(k) => format!("s{k}"),
            Self::Other => "thin".to_owned(),
        }
    }

    /// Returns the class of a text on the color.
    pub(super) fn on(self) -> String {
        match self {
            Self::Plain(k) | Self::Hatched(k) => format!("on{k}"),
            Self::Other => "onother".to_owned(),
        }
    }

    /// Returns the class of an area.
    pub(super) fn fill(self) -> String {
        match self {
            Self::Plain(k) | Self::Hatched(k) => format!("f{k}"),
            Self::Other => "other".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn css_is_balanced_and_self_contained() {
        for css in [picture(), page()] {
            assert_eq!(css.matches('{').count(), css.matches('}').count(), "{css}");
            assert!(!css.contains("url(") && !css.contains("@import") && !css.contains('<'));
        }
    }
}
