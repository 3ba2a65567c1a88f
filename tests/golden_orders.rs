//! Golden cases in other orders of events, and one event at a time. Slow, so apart from `tests/golden.rs`.

mod golden_case;
mod planning;

use std::path::Path;

use golden_case::{Case, fleet::Fleet, same::same};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let trials = golden_case::paths().into_iter().map(|path| {
        let name = golden_case::name_of(&path);
        Trial::test(name, move || in_every_order(&path).map_err(Failed::from))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

// Invariant: Planning is deterministic: neither the order of events nor the way to a state matters. [every golden case]
fn in_every_order(path: &Path) -> Result<(), String> {
    let case = Case::read(path)?;
    let fleet = Fleet::load(&case)?;
    let mut world = fleet.world();
    world.settle();
    let picture = world.picture();
    for (number, (order, events)) in fleet.orders().into_iter().enumerate() {
        same(&format!("fed {order}"), &fleet.fed(&events), &picture)?;
        // Every plan after every event is the slow part: two of the orders will do.
        if !case.head.first_come && number % 2 == 1 {
            same(&format!("planned after each event {order}"), &fleet.fed_one_by_one(&events)?, &picture)?;
        }
    }
    Ok(())
}
