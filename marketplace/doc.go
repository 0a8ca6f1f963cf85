// Package marketplace is layer 1: who can create, discover, purchase and access
// agents. It owns organizations and their people, listings, prices, orders,
// entitlements, reviews and the ledger.
//
// The layer never looks at runtime health: an agent can be listed, bought and
// granted while nothing of it can run, and a run that fails changes nothing here
// but what it costs.
//
//	API key ──► Principal (organization, person, role, scopes) ──► may do an Action
//
//	publisher ──► Listing (draft ─► in_review ─► published) ──► catalog
//	          ──► Price, effective-dated
//	buyer     ──► Order ──► Entitlement
//	          ──► Installation (channel or pin, consent)
//
//	start ──► Claim ──► Decision (allowed, or a stable code and the way to the right)
//	      ──► Hold  ──► Settlement ──► Transactions of the ledger
//
// What decides is pure: Claim.Decide, Claim.Admit, Price.Quote, Settle. What is
// kept is behind [Store].
package marketplace
