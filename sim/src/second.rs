//! A second opinion on the history of calls: the search for a linearization, by a checker of another author.
//!
//! It is told nothing of log indexes. Each ticket is an object of its own, with the calls about it as they overlapped in time:
//! Wing and Gong's search, as todc-utils has it, looks for an order in which one ticket, sold one step after the other, would
//! have given the same answers. A call without an answer may have happened at any time after it began, or not at all.
//!
//! The search may take for ever, so it has a budget of steps, and says nothing of a ticket that uses it up. What this
//! deliberately does not do: judge runs. Its ticket does not know yet how retries without a key are answered, and objects to sound
//! histories with such; until it does, no run is held against it. Nor does it know the time. A lock is over when a later answer says that it was made at the deadline or after.

use std::cell::Cell;
use std::collections::BTreeMap;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use crate::check::Evidence;
use crate::history::{Asked, Call};

/// Steps of the search for one ticket.
const STEPS_MAX: u32 = 50_000;

/// One call about one ticket, with its answer if it has one. Orders are numbers here, for the search copies states a lot.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Create {
        price: u64,
    },
    ChangePrice {
        price: u64,
    },
    /// `made` is the order, when its lock began, and when it ends, in milliseconds of ledger time.
    Place {
        price: u64,
        made: Option<(u32, u64, u64)>,
    },
    RefusedAsSold,
    Extend {
        order: u32,
        expires_ms: Option<u64>,
    },
    /// Cancelled, declined by the bank, or released by an operator.
    GiveUp {
        order: u32,
    },
    Pay {
        order: u32,
    },
    /// The call has no answer: at its place in the order, it may have happened as far as it could, or not.
    Perhaps(Box<Step>),
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Ticket {
    Unknown,
    Free {
        price: u64,
        last: Option<u32>,
    },
    Locked {
        price: u64,
        order: u32,
        expires_ms: u64,
    },
    /// By an order that nobody was told of.
    LockedUnseen {
        price: u64,
    },
    Sold {
        order: u32,
    },
}

thread_local! {
    static STEPS_LEFT: Cell<u32> = const { Cell::new(0) };
}

struct OneTicket;

impl Specification for OneTicket {
    type State = Ticket;
    type Operation = Step;

    fn init() -> Ticket {
        Ticket::Unknown
    }

    fn apply(step: &Step, ticket: &Ticket) -> (bool, Ticket) {
        let left = STEPS_LEFT.get();
        if left == 0 {
            // Nothing fits any more: the search ends soon.
            return (false, ticket.clone());
        }
        STEPS_LEFT.set(left - 1);
        match step {
            Step::Perhaps(step) => (true, after(step, ticket).unwrap_or_else(|| ticket.clone())),
            step => match after(step, ticket) {
                Some(after) => (true, after),
                None => (false, ticket.clone()),
            },
        }
    }
}

/// The ticket after a step; `None` if it cannot have been.
fn after(step: &Step, ticket: &Ticket) -> Option<Ticket> {
    use Ticket::{Free, Locked, LockedUnseen, Sold, Unknown};
    match (step, ticket) {
        (Step::Create { price }, Unknown) => Some(Free { price: *price, last: None }),
        // Of a lock that has run out nothing is seen but what comes next.
        (Step::ChangePrice { price }, Free { last, .. }) => Some(Free { price: *price, last: *last }),
        (Step::ChangePrice { price }, Locked { order, .. }) => Some(Free { price: *price, last: Some(*order) }),
        (Step::ChangePrice { price }, LockedUnseen { .. }) => Some(Free { price: *price, last: None }),
        (Step::Place { price, made }, Free { price: asked, .. } | LockedUnseen { price: asked }) => {
            (price == asked).then(|| locked(*price, *made))
        }
        (Step::Place { price, made: Some(made) }, Locked { price: asked, expires_ms, .. }) => {
            (price == asked && made.1 >= *expires_ms).then(|| locked(*price, Some(*made)))
        }
        (Step::Place { price, made: None }, Locked { price: asked, .. }) => {
            (price == asked).then(|| locked(*price, None))
        }
        (Step::RefusedAsSold, Sold { .. }) => Some(ticket.clone()),
        (Step::Extend { order, expires_ms }, Locked { price, order: holder, expires_ms: before })
            if order == holder =>
        {
            let expires_ms = expires_ms.unwrap_or(*before).max(*before);
            Some(Locked { price: *price, order: *order, expires_ms })
        }
        (Step::GiveUp { order }, Locked { price, order: holder, .. }) if order == holder => {
            Some(Free { price: *price, last: Some(*order) })
        }
        // It was over already.
        (Step::GiveUp { .. }, Free { .. } | Locked { .. } | LockedUnseen { .. } | Sold { .. }) => Some(ticket.clone()),
        (Step::Pay { order }, Locked { order: holder, .. } | Sold { order: holder }) if order == holder => {
            Some(Sold { order: *order })
        }
        // A payment that was begun in time may come after the lock, as long as the ticket is free.
        (Step::Pay { order }, Free { last: Some(last), .. }) if order == last => Some(Sold { order: *order }),
        _ => None,
    }
}

fn locked(price: u64, made: Option<(u32, u64, u64)>) -> Ticket {
    match made {
        Some((order, _, expires_ms)) => Ticket::Locked { price, order, expires_ms },
        None => Ticket::LockedUnseen { price },
    }
}

/// What the search says of one ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opinion {
    Fits,
    FitsNowhere,
    /// The budget was used up.
    Undecided,
}

/// When each call began, when it ended, and what it was.
type Steps = Vec<((u64, u64), Step)>;

fn opinion(steps: &Steps, steps_max: u32) -> Opinion {
    let mut moments = Vec::new();
    for (process, ((begun, ended), step)) in steps.iter().enumerate() {
        // What ends as another begins overlaps it.
        moments.push(((*begun, false), process, Action::Call(step.clone())));
        moments.push(((*ended, true), process, Action::Response(step.clone())));
    }
    if moments.is_empty() {
        return Opinion::Fits;
    }
    moments.sort_by_key(|(moment, process, _)| (*moment, *process));
    let actions = moments.into_iter().map(|(_, process, action)| (process, action)).collect();
    STEPS_LEFT.set(steps_max);
    let fits = WGLChecker::<OneTicket>::is_linearizable(History::from_actions(actions));
    match (fits, STEPS_LEFT.get()) {
        (true, _) => Opinion::Fits,
        (false, 0) => Opinion::Undecided,
        (false, _) => Opinion::FitsNowhere,
    }
}

/// Orders by number, and the ticket of each.
#[derive(Default)]
struct Orders<'a>(BTreeMap<&'a str, (u32, &'a str)>);

impl<'a> Orders<'a> {
    fn of(calls: &'a [Call]) -> Orders<'a> {
        let mut orders = Orders::default();
        for call in calls {
            if let (Asked::PlaceOrder { ticket, .. }, Some(told)) = (&call.asked, &call.told)
                && let (201, Some(order)) = (told.status, &told.id)
            {
                let number = orders.0.len() as u32;
                orders.0.entry(order).or_insert((number, ticket));
            }
        }
        orders
    }
}

/// What a call says of a ticket; `None` for what says nothing.
fn step<'a>(call: &'a Call, orders: &Orders<'a>) -> Option<(&'a str, Step)> {
    let told = call.told.as_ref();
    let status = told.map(|told| told.status);
    let of_order = |order: &String, step: fn(u32) -> Step| {
        let (number, ticket) = orders.0.get(order.as_str()).copied()?;
        Some((ticket, step(number)))
    };
    let (ticket, step) = match &call.asked {
        Asked::CreateTicket { price_minor } if status == Some(201) => {
            (told?.id.as_deref()?, Step::Create { price: *price_minor })
        }
        Asked::ChangePrice { ticket, price_minor } if matches!(status, None | Some(200)) => {
            (ticket.as_str(), Step::ChangePrice { price: *price_minor })
        }
        Asked::PlaceOrder { ticket, price_minor } => match told {
            None => (ticket.as_str(), Step::Place { price: *price_minor, made: None }),
            Some(told) if told.status == 201 => {
                let order = orders.0.get(told.id.as_deref()?)?.0;
                // An answer that says nothing of times rules nothing out.
                let made = Some((order, told.created_ms.unwrap_or(u64::MAX), told.expires_ms.unwrap_or(0)));
                (ticket.as_str(), Step::Place { price: *price_minor, made })
            }
            Some(told) if told.code.as_deref() == Some("ticket_sold") => (ticket.as_str(), Step::RefusedAsSold),
            Some(_) => return None,
        },
        Asked::ExtendLock { order } if matches!(status, None | Some(200)) => {
            let (number, ticket) = orders.0.get(order.as_str()).copied()?;
            (ticket, Step::Extend { order: number, expires_ms: told.and_then(|told| told.expires_ms) })
        }
        Asked::CancelOrder { order } if matches!(status, None | Some(204)) => {
            of_order(order, |order| Step::GiveUp { order })?
        }
        Asked::ReleaseLock { order } if matches!(status, None | Some(200)) => {
            of_order(order, |order| Step::GiveUp { order })?
        }
        Asked::Pay { order, declined: true } if matches!(status, None | Some(402)) => {
            of_order(order, |order| Step::GiveUp { order })?
        }
        Asked::Pay { order, declined: false } if matches!(status, None | Some(201)) => {
            of_order(order, |order| Step::Pay { order })?
        }
        _ => return None,
    };
    Some((ticket, if told.is_some() { step } else { Step::Perhaps(Box::new(step)) }))
}

fn by_ticket(calls: &[Call]) -> BTreeMap<&str, Steps> {
    let orders = Orders::of(calls);
    let mut tickets: BTreeMap<&str, Steps> = BTreeMap::new();
    for call in calls {
        if let Some((ticket, step)) = step(call, &orders) {
            let span = (call.invoked_ns, call.returned_ns.unwrap_or(u64::MAX));
            tickets.entry(ticket).or_default().push((span, step));
        }
    }
    // Of a ticket whose making had no answer nobody knows the price.
    tickets.retain(|_, steps| steps.iter().any(|(_, step)| matches!(step, Step::Create { .. })));
    tickets
}

/// Every ticket's calls fit into one order.
pub fn linearizable(evidence: &Evidence) -> Vec<String> {
    let tickets = by_ticket(&evidence.calls);
    let wrong = tickets.iter().filter(|(_, steps)| opinion(steps, STEPS_MAX) == Opinion::FitsNowhere);
    wrong.map(|(ticket, steps)| format!("ticket {ticket}: its {} calls fit into no order", steps.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(order: u32, created_ms: u64) -> Step {
        Step::Place { price: 500, made: Some((order, created_ms, created_ms + 1_000)) }
    }

    /// Steps one after the other.
    fn in_turn(steps: &[Step]) -> Steps {
        let create = std::iter::once(Step::Create { price: 500 });
        create.chain(steps.iter().cloned()).zip(0..).map(|(step, at)| ((at * 10, at * 10 + 5), step)).collect()
    }

    fn of(steps: &[Step]) -> Opinion {
        opinion(&in_turn(steps), STEPS_MAX)
    }

    #[test]
    fn a_sale_fits() {
        let extend = Step::Extend { order: 1, expires_ms: Some(5_000) };
        assert_eq!(of(&[place(1, 100), extend.clone(), Step::Pay { order: 1 }, Step::RefusedAsSold]), Opinion::Fits);
        assert_eq!(of(&[place(1, 100), place(2, 1_100), Step::Pay { order: 2 }]), Opinion::Fits, "the first ran out");
        assert_eq!(of(&[place(1, 100), Step::GiveUp { order: 1 }, place(2, 200)]), Opinion::Fits);
        assert_eq!(of(&[]), Opinion::Fits);
    }

    #[test]
    fn what_cannot_have_been_fits_nowhere() {
        for (steps, why) in [
            (vec![place(1, 100), place(2, 200)], "two locks at a time"),
            (vec![place(1, 100), Step::Pay { order: 1 }, place(2, 9_000)], "sold, and locked again"),
            (vec![place(1, 100), place(2, 1_100), Step::Pay { order: 1 }], "paid after another had it"),
            (vec![place(1, 100), Step::Pay { order: 1 }, Step::Pay { order: 2 }], "sold twice"),
            (vec![Step::RefusedAsSold, place(1, 100)], "said to be sold, and was not"),
            (vec![Step::ChangePrice { price: 700 }, place(1, 100)], "at the old price"),
            (
                vec![place(1, 100), Step::Extend { order: 1, expires_ms: Some(5_000) }, place(2, 1_100)],
                "before the extended lock was over",
            ),
        ] {
            assert_eq!(of(&steps), Opinion::FitsNowhere, "{why}");
        }
    }

    #[test]
    fn calls_that_overlap_may_have_come_in_either_order() {
        let mut steps = in_turn(&[place(1, 100), Step::RefusedAsSold, Step::Pay { order: 1 }]);
        assert_eq!(opinion(&steps, STEPS_MAX), Opinion::FitsNowhere);
        steps[2].0.1 = 35;
        assert_eq!(opinion(&steps, STEPS_MAX), Opinion::Fits, "the payment came while the other asked");
    }

    #[test]
    fn a_call_without_an_answer_may_have_happened_or_not() {
        let perhaps = |step| Step::Perhaps(Box::new(step));
        let unanswered = |step| {
            let mut steps = in_turn(&[place(1, 100), perhaps(step), Step::RefusedAsSold]);
            steps[2].0.1 = u64::MAX;
            opinion(&steps, STEPS_MAX)
        };
        assert_eq!(unanswered(Step::Pay { order: 1 }), Opinion::Fits);
        assert_eq!(unanswered(Step::GiveUp { order: 1 }), Opinion::FitsNowhere);
        let mut never = in_turn(&[perhaps(Step::ChangePrice { price: 700 }), place(1, 100)]);
        never[1].0.1 = u64::MAX;
        assert_eq!(opinion(&never, STEPS_MAX), Opinion::Fits);
    }

    #[test]
    fn a_search_without_end_is_given_up() {
        let many: Vec<Step> = (0..12).map(|at| Step::ChangePrice { price: 600 + at }).collect();
        let mut steps = in_turn(&many);
        steps.iter_mut().skip(1).for_each(|(span, _)| *span = (10, 500));
        steps.push(((600, 610), place(1, 100)));
        assert_eq!(opinion(&steps, 1_000), Opinion::Undecided);
    }
}
