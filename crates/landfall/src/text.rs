//! Text that several commands print: lists, numbers, costs.

use landfall_controller::explain::BillLine;

use crate::table;

/// Joins names with commas.
pub fn list(names: impl Iterator<Item = impl ToString>) -> String {
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

/// Formats a number with at most three decimals and without trailing zeros.
pub fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Formats what requests cost: one row per policy or point in time.
pub fn bills(lines: &[(&str, BillLine)]) -> String {
    let row = |(name, bill): &(&str, BillLine)| {
        let ms = bill.ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        let fullest = bill.fullest.map_or_else(|| "-".to_owned(), |part| format!("{:.0}%", 100.0 * part));
        let money = [format!("{:.3}", bill.usd_per_million), format!("{:.0}", bill.usd_per_month)];
        let [million, month] = money;
        [(*name).to_owned(), ms, million, month, fullest]
    };
    let mut rows: Vec<[String; 5]> = lines.iter().map(row).collect();
    rows.insert(0, ["COST", "MEAN MS", "USD/MILLION", "USD/30 DAYS", "FULLEST"].map(str::to_owned));
    table::align_right(&mut rows, 1..5);
    table::align(rows)
}
