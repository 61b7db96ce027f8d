//! An error and its causes, in one line.

/// Joins the first lines of an error and of all its sources. The outermost error alone often says too little: that of a
/// refused connection is just "client error (Connect)". Some errors have several lines.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = first_line(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = first_line(cause);
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn first_line(error: &dyn std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
