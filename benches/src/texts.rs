//! Intents for load: made from parts, so that no two in a run are equal, and about 16 tokens long.

const VERBS: [&str; 8] = ["show", "store", "send", "check", "import", "search", "schedule", "encrypt"];
const THINGS: [&str; 9] = [
    "monthly invoices",
    "customer addresses",
    "uploaded pictures",
    "sensor readings",
    "card payments",
    "audit records",
    "chat messages",
    "shipping labels",
    "exchange rates",
];
const PLACES: [&str; 7] = [
    "for the support team in a web page",
    "on the phone without a network",
    "every night before the shop opens",
    "so that auditors can follow them later",
    "across several tenants of one platform",
    "with a retry when the partner is down",
    "inside the warehouse application",
];

/// Intent number `n`; the first 504 differ in their words, later ones in a number.
pub(crate) fn intent(n: usize) -> String {
    let round = n / (VERBS.len() * THINGS.len() * PLACES.len());
    let verb = VERBS[n % VERBS.len()];
    let thing = THINGS[n / VERBS.len() % THINGS.len()];
    let place = PLACES[n / (VERBS.len() * THINGS.len()) % PLACES.len()];
    if round == 0 { format!("{verb} all {thing} {place}") } else { format!("{verb} {round} {thing} {place}") }
}
