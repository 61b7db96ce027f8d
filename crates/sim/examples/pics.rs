//! tmp
use landfall_core::optimize::facts::Tuning;
use landfall_sim::{
    contender::Contender, report::*, run::run, scenario::Scenario, summary::summarise, trace::Trace, world::World,
};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let s = Scenario::read(&std::fs::read_to_string(format!("tests/scenarios/{}.yaml", a[1])).unwrap()).unwrap();
    let t = Trace::read(&std::fs::read_to_string(format!("tests/scenarios/traces/{}.json", a[1])).unwrap()).unwrap();
    let w = World::replayed(&s, &t).unwrap();
    let opt = t.optimum_ms.headroom09.unwrap();
    let start = std::time::Instant::now();
    let mut sums = vec![];
    let mut first = None;
    for c in Contender::all() {
        let o = run(&w, c.policy(&w, Tuning::default()).as_mut());
        let t0 = start.elapsed();
        sums.push(summarise(c.as_str(), &w, &o, &opt));
        eprintln!("{c} {t0:?} {:?}", start.elapsed());
        first.get_or_insert(o);
    }
    let sweep: Vec<Trade> = RATES
        .iter()
        .map(|&v| {
            let mut w = w.clone();
            w.usd_per_ms_per_million = v;
            let o = run(&w, Contender::PRODUCT.policy(&w, Tuning::default()).as_mut());
            let s = summarise("", &w, &o, &[]);
            Trade { usd_per_ms_per_million: v, mean_ms: s.mean_ms, usd_per_million: s.usd_per_million }
        })
        .collect();
    eprintln!("sweep {:?}", start.elapsed());
    let r = Report {
        scenario: &s,
        world: &w,
        summaries: &sums,
        outcomes: &first.unwrap(),
        target_utilisation: 0.9,
        sweep: &sweep,
    };
    std::fs::create_dir_all(&a[2]).unwrap();
    for p in r.pictures() {
        std::fs::write(format!("{}/{}.svg", a[2], p.name), p.file()).unwrap();
    }
    std::fs::write(format!("{}/r.html", a[2]), r.html()).unwrap();
    eprintln!("report {:?}", start.elapsed());
    for s in &sums {
        println!("{}", cells(s).join("  "));
    }
}
