//! A second opinion on the history of calls: the search for a linearization, by a checker of another author.
//!
//! It is told nothing of log indexes. Each ticket is an object of its own, with the calls about it as they overlapped in time:
//! Wing and Gong's search, as todc-utils has it, looks for an order in which one ticket, sold one step after the other, would
//! have given the same answers. An order of several tickets is a step of each of them, and so is a ban of each ticket that the
//! account may hold. A call without an answer may have happened at any time after it began, or not at all; so may a cancellation
//! or a payment whose answer only says that it found things settled.
//!
//! The search may take for ever, so it has a budget of [`STEPS_MAX`] a ticket, and says nothing of a ticket that uses it up: a
//! run says of how many. What this deliberately does not do: know the time. A lock is over when a later answer says that it was
//! made at the deadline or after. A ticket that is kept for the next in line is free here: whoever gets it fits.

use std::cell::Cell;
use std::collections::BTreeMap;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use crate::check::Evidence;
use crate::check_time;
use crate::history::{Asked, Call};

/// Steps of the search for one ticket.
pub const STEPS_MAX: u32 = 50_000;

/// One call about one ticket, with its answer if it has one. Orders are numbers here, for the search copies states a lot.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Create {
        price: u64,
    },
    ChangePrice {
        price: u64,
    },
    /// `None`: nobody was told of the order.
    Place {
        price: u64,
        made: Option<Made>,
    },
    RefusedAsSold,
    Extend {
        order: u32,
        expires_ms: Option<u64>,
    },
    /// Cancelled, declined by the bank, released by an operator, or of a buyer who is banned.
    GiveUp {
        order: u32,
    },
    /// A payment that began so long into the run, and was decided before so much of ledger time.
    Pay {
        order: u32,
        begun_ns: u64,
        before_ms: u64,
    },
    /// Nobody knows that it happened: at its place in the order, it has as far as it could.
    Perhaps(Box<Step>),
}

/// A lock as its buyer was told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Made {
    order: u32,
    /// When it began, and when it ends, in milliseconds of ledger time.
    created_ms: u64,
    expires_ms: u64,
    /// When the buyer was told, of the run's time.
    told_ns: u64,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Ticket {
    Unknown,
    Free {
        price: u64,
        /// The lock before.
        last: Option<Made>,
    },
    Locked {
        price: u64,
        made: Made,
    },
    /// By an order that nobody was told of; the lock before it ended then.
    LockedUnseen {
        price: u64,
        over_ms: u64,
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
        (Step::ChangePrice { price }, Locked { made, .. }) => Some(Free { price: *price, last: Some(*made) }),
        (Step::ChangePrice { price }, LockedUnseen { .. }) => Some(Free { price: *price, last: None }),
        (Step::Place { price, made }, Free { price: asked, .. }) => (price == asked).then(|| locked(*price, *made, 0)),
        (Step::Place { price, made }, LockedUnseen { price: asked, over_ms }) => {
            let fits = made.is_none_or(|made| made.created_ms >= *over_ms);
            (price == asked && fits).then(|| locked(*price, *made, *over_ms))
        }
        (Step::Place { price, made }, Locked { price: asked, made: before }) => {
            let fits = made.is_none_or(|made| made.created_ms >= before.expires_ms);
            (price == asked && fits).then(|| locked(*price, *made, before.expires_ms))
        }
        (Step::RefusedAsSold, Sold { .. }) => Some(ticket.clone()),
        (Step::Extend { order, expires_ms }, Locked { price, made }) if *order == made.order => {
            let expires_ms = expires_ms.unwrap_or(made.expires_ms).max(made.expires_ms);
            Some(Locked { price: *price, made: Made { expires_ms, ..*made } })
        }
        (Step::GiveUp { order }, Locked { price, made }) if *order == made.order => {
            Some(Free { price: *price, last: Some(*made) })
        }
        // It was over already.
        (Step::GiveUp { .. }, Free { .. } | Locked { .. } | LockedUnseen { .. } | Sold { .. }) => Some(ticket.clone()),
        (Step::Pay { order, .. }, Sold { order: holder }) if order == holder => Some(Sold { order: *order }),
        (Step::Pay { order, .. }, Locked { made, .. }) if *order == made.order => Some(Sold { order: *order }),
        // A payment that was begun in time may come after its own lock and others, as long as the ticket is free then.
        (Step::Pay { order, before_ms, begun_ns }, Locked { made, .. }) => {
            (*begun_ns < made.told_ns && *before_ms >= made.expires_ms).then_some(Sold { order: *order })
        }
        (Step::Pay { order, begun_ns, .. }, Free { last: Some(last), .. }) => {
            (*order == last.order || *begun_ns < last.told_ns).then_some(Sold { order: *order })
        }
        (Step::Pay { order, .. }, Free { last: None, .. } | LockedUnseen { .. }) => Some(Sold { order: *order }),
        _ => None,
    }
}

fn locked(price: u64, made: Option<Made>, over_ms: u64) -> Ticket {
    match made {
        Some(made) => Ticket::Locked { price, made },
        None => Ticket::LockedUnseen { price, over_ms },
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

/// An order that a client was told of.
struct Known<'a> {
    number: u32,
    client: u32,
    invoked_ns: u64,
    tickets: Vec<&'a str>,
}

/// All of them, by id.
struct Orders<'a>(BTreeMap<&'a str, Known<'a>>);

impl<'a> Orders<'a> {
    fn of(calls: &'a [Call]) -> Orders<'a> {
        let mut orders = BTreeMap::new();
        for call in calls {
            let tickets: Vec<&str> = call.asked.wants().into_iter().map(|(ticket, _)| ticket).collect();
            if let (false, Some(told)) = (tickets.is_empty(), &call.told)
                && let (201, Some(order)) = (told.status, &told.id)
            {
                let (number, client, invoked_ns) = (orders.len() as u32, call.client, call.invoked_ns);
                orders.entry(order.as_str()).or_insert(Known { number, client, invoked_ns, tickets });
            }
        }
        Orders(orders)
    }

    /// A step of each ticket of an order; none if nobody was told of it.
    fn each(&self, order: &str, step: impl Fn(u32) -> Step) -> Vec<(&'a str, Step)> {
        let of = |known: &Known<'a>| known.tickets.iter().map(|ticket| (*ticket, step(known.number))).collect();
        self.0.get(order).map(of).unwrap_or_default()
    }

    /// All tickets that the account may have held when it was banned are given up.
    fn banned(&self, is_account: impl Fn(u32) -> bool, ban: &Call) -> Vec<(&'a str, Step)> {
        let before = |known: &&Known<'a>| {
            is_account(known.client) && ban.returned_ns.is_none_or(|returned_ns| known.invoked_ns < returned_ns)
        };
        let give_up = |known: &Known<'a>| {
            let step = Step::GiveUp { order: known.number };
            known.tickets.iter().map(|ticket| (*ticket, step.clone())).collect::<Vec<_>>()
        };
        self.0.values().filter(before).flat_map(give_up).collect()
    }
}

/// What a call says of tickets, and whether it is sure to have happened before it was answered.
fn steps<'a>(
    call: &'a Call,
    orders: &Orders<'a>,
    users: &BTreeMap<u32, &str>,
    misled: bool,
) -> (Vec<(&'a str, Step)>, bool) {
    let told = call.told.as_ref();
    let status = told.map(|told| told.status);
    match &call.asked {
        Asked::CreateTicket { price_minor, .. } => {
            let id = told.filter(|told| told.status == 201).and_then(|told| told.id.as_deref());
            (id.map(|id| (id, Step::Create { price: *price_minor })).into_iter().collect(), true)
        }
        Asked::CreateTickets { prices_minor, .. } => {
            let ids = told.into_iter().flat_map(|told| &told.ids).zip(prices_minor);
            let made = ids.filter_map(|(id, price)| Some((id.as_deref()?, Step::Create { price: *price })));
            (made.collect(), true)
        }
        Asked::ChangePrice { ticket, price_minor } if matches!(status, None | Some(200)) => {
            (vec![(ticket, Step::ChangePrice { price: *price_minor })], told.is_some())
        }
        Asked::PlaceOrder { .. } | Asked::PlaceTogether { .. } => placed(call, orders),
        Asked::ExtendLock { order } if status == Some(200) || call.may_have_happened() => {
            let expires_ms = told.and_then(|told| told.expires_ms);
            (orders.each(order, |order| Step::Extend { order, expires_ms }), status == Some(200))
        }
        // Sent again, it is told that there is nothing to cancel any more.
        Asked::CancelOrder { order } => (orders.each(order, |order| Step::GiveUp { order }), status == Some(204)),
        Asked::ReleaseLock { order } if matches!(status, None | Some(200)) => {
            (orders.each(order, |order| Step::GiveUp { order }), told.is_some())
        }
        // The order goes on where it may be paid for again.
        Asked::Pay { order, declined: true } => (orders.each(order, |order| Step::GiveUp { order }), false),
        Asked::Pay { order, declined: false } => {
            let before_ms = call.returned_ns.filter(|_| !misled).map_or(u64::MAX, check_time::latest_ms);
            let pay = |order| Step::Pay { order, begun_ns: call.invoked_ns, before_ms };
            (orders.each(order, pay), status == Some(201))
        }
        Asked::Ban { user } => {
            let is_account = |client| users.get(&client).copied() == Some(user.as_str());
            (orders.banned(is_account, call), status == Some(200))
        }
        _ => (Vec::new(), false),
    }
}

fn placed<'a>(call: &'a Call, orders: &Orders<'a>) -> (Vec<(&'a str, Step)>, bool) {
    let wants = call.asked.wants();
    let place = |made: Option<Made>| -> Vec<(&'a str, Step)> {
        wants.iter().map(|(ticket, price)| (*ticket, Step::Place { price: *price, made })).collect()
    };
    let Some(told) = call.told.as_ref().filter(|_| !call.may_have_happened()) else { return (place(None), false) };
    let order = told.id.as_deref().and_then(|order| orders.0.get(order));
    match (told.status, order) {
        (201, Some(order)) => {
            let made = Made {
                order: order.number,
                // An answer that says nothing of times rules nothing out.
                created_ms: told.created_ms.unwrap_or(u64::MAX),
                expires_ms: told.expires_ms.unwrap_or(0),
                told_ns: call.returned_ns.unwrap_or(u64::MAX),
            };
            (place(Some(made)), true)
        }
        // Of several nobody knows which.
        _ if told.code.as_deref() == Some("ticket_sold") && wants.len() == 1 => {
            (vec![(wants[0].0, Step::RefusedAsSold)], true)
        }
        _ => (Vec::new(), true),
    }
}

fn by_ticket(evidence: &Evidence) -> BTreeMap<&str, Steps> {
    let (orders, users) = (Orders::of(&evidence.calls), evidence.users());
    let mut tickets: BTreeMap<&str, Steps> = BTreeMap::new();
    for call in &evidence.calls {
        let (steps, is_sure) = steps(call, &orders, &users, evidence.clocks_misled);
        for (ticket, step) in steps {
            let ended_ns = call.returned_ns.filter(|_| is_sure).unwrap_or(u64::MAX);
            let step = if is_sure { step } else { Step::Perhaps(Box::new(step)) };
            tickets.entry(ticket).or_default().push(((call.invoked_ns, ended_ns), step));
        }
    }
    // Of a ticket whose making had no answer nobody knows the price.
    tickets.retain(|_, steps| steps.iter().any(|(_, step)| matches!(step, Step::Create { .. })));
    tickets
}

/// What the search says of a whole run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    pub wrong: Vec<String>,
    pub tickets: usize,
    /// Tickets that used up the budget.
    pub undecided: usize,
}

/// Looks at every ticket.
pub fn survey(evidence: &Evidence) -> Survey {
    let tickets = by_ticket(evidence);
    let mut survey = Survey { tickets: tickets.len(), ..Survey::default() };
    for (ticket, steps) in &tickets {
        match opinion(steps, STEPS_MAX) {
            Opinion::Fits => {}
            Opinion::FitsNowhere => {
                survey.wrong.push(format!("ticket {ticket}: its {} calls fit into no order", steps.len()));
            }
            Opinion::Undecided => survey.undecided += 1,
        }
    }
    survey
}

/// Every ticket's calls fit into one order.
pub fn linearizable(evidence: &Evidence) -> Vec<String> {
    survey(evidence).wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(order: u32, created_ms: u64) -> Made {
        Made { order, created_ms, expires_ms: created_ms + 1_000, told_ns: 25 }
    }

    fn place(order: u32, created_ms: u64) -> Step {
        Step::Place { price: 500, made: Some(made(order, created_ms)) }
    }

    /// Begun when all others were over, and decided long after.
    fn pay(order: u32) -> Step {
        Step::Pay { order, begun_ns: 1_000, before_ms: 1_000_000 }
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
        assert_eq!(of(&[place(1, 100), extend.clone(), pay(1), Step::RefusedAsSold]), Opinion::Fits);
        assert_eq!(of(&[place(1, 100), place(2, 1_100), pay(2)]), Opinion::Fits, "the first ran out");
        assert_eq!(of(&[place(1, 100), Step::GiveUp { order: 1 }, place(2, 200)]), Opinion::Fits);
        assert_eq!(of(&[]), Opinion::Fits);
    }

    #[test]
    fn what_cannot_have_been_fits_nowhere() {
        for (steps, why) in [
            (vec![place(1, 100), place(2, 200)], "two locks at a time"),
            (vec![place(1, 100), pay(1), place(2, 9_000)], "sold, and locked again"),
            (vec![place(1, 100), place(2, 1_100), pay(1)], "paid after another had it"),
            (vec![place(1, 100), pay(1), pay(2)], "sold twice"),
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
    fn a_payment_begun_in_time_may_come_after_the_locks_of_others() {
        let late = |begun_ns, before_ms| Step::Pay { order: 1, begun_ns, before_ms };
        let steps = |pay: Step| of(&[place(1, 100), place(2, 1_100), pay]);
        assert_eq!(steps(late(20, 2_100)), Opinion::Fits, "the second lock ran out too");
        assert_eq!(steps(late(20, 2_099)), Opinion::FitsNowhere, "it could not have run out");
        assert_eq!(steps(late(25, 2_100)), Opinion::FitsNowhere, "begun when another had it already");
        let given_up = |pay: Step| of(&[place(1, 100), place(2, 1_100), Step::GiveUp { order: 2 }, pay]);
        assert_eq!(given_up(late(20, 0)), Opinion::Fits);
        assert_eq!(given_up(late(25, 0)), Opinion::FitsNowhere);
    }

    #[test]
    fn an_order_that_nobody_was_told_of_does_not_end_the_lock_before_it() {
        let unseen = Step::Perhaps(Box::new(Step::Place { price: 500, made: None }));
        let with = |created_ms| {
            let mut steps = in_turn(&[place(1, 100), unseen.clone(), place(2, created_ms)]);
            steps[2].0.1 = u64::MAX;
            opinion(&steps, STEPS_MAX)
        };
        assert_eq!(with(1_100), Opinion::Fits);
        assert_eq!(with(1_099), Opinion::FitsNowhere);
    }

    #[test]
    fn calls_that_overlap_may_have_come_in_either_order() {
        let mut steps = in_turn(&[place(1, 100), Step::RefusedAsSold, pay(1)]);
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
        assert_eq!(unanswered(pay(1)), Opinion::Fits);
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
