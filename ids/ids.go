// Package ids makes and checks the identifiers of the platform.
//
// An identifier is a prefix that names the kind, an underscore and a ULID in
// lower case: run_01jd3m0f9zq4x8v5c7n2b6k1ta. ULIDs sort by creation time, so
// "newest first" is "order by id desc" and a cursor is the last identifier
// seen. Lower case, because the same text is part of Kubernetes object names.
//
// Each kind has its own Go type; the compiler refuses a run where an agent is
// expected.
package ids

import (
	"strings"

	"github.com/oklog/ulid/v2"
)

// Org identifies an organization: publisher, buyer or both.
type Org string

// Key identifies an API key.
type Key string

// Entitlement identifies a right of an organization to run an agent.
type Entitlement string

// Agent identifies an agent of a publisher.
type Agent string

// Version identifies an immutable version of an agent.
type Version string

// Run identifies one invocation of an agent: the execution record.
type Run string

// User identifies a person.
type User string

// Team identifies a group of people within an organization.
type Team string

// Invitation identifies an offer to join an organization.
type Invitation string

// Grant identifies a publisher's permission for somebody to see or run an agent.
type Grant string

// Price identifies an effective-dated price of an agent.
type Price string

// Order identifies a purchase.
type Order string

// TopUp identifies a payment into a wallet.
type TopUp string

// Review identifies a buyer's opinion of a version.
type Review string

// Comment identifies a remark in the review of a listing.
type Comment string

// Account names an account of the ledger: its kind, and after a colon the
// organization whose it is.
type Account string

// Split returns the kind of an account and whose it is; empty: the platform's.
func (a Account) Split() (kind string, org Org) {
	kind, whose, _ := strings.Cut(string(a), ":")
	return kind, Org(whose)
}

// Transaction identifies a balanced transaction of the ledger.
type Transaction string

// Alert identifies a notice that spending has crossed a threshold.
type Alert string

// Audit identifies an entry of the audit log.
type Audit string

// Rollout identifies the staged release of a version.
type Rollout string

// Schedule identifies a plan to start an agent again and again.
type Schedule string

// Endpoint identifies an address that is told of an organization's runs.
type Endpoint string

// Delivery identifies a message to an endpoint.
type Delivery string

// Artifact identifies a file that an attempt left.
type Artifact string

// ToolApproval identifies the need of a person to agree to a call of a tool.
type ToolApproval string

// The prefixes. They are part of the API and never change.
const (
	PrefixOrg         = "org"
	PrefixKey         = "key"
	PrefixEntitlement = "ent"
	PrefixAgent       = "agt"
	PrefixVersion     = "ver"
	PrefixRun         = "run"
	PrefixRequest     = "req"
	PrefixUser        = "usr"
	PrefixTeam        = "team"
	PrefixInvitation  = "inv"
	PrefixGrant       = "gra"
	PrefixPrice       = "prc"
	PrefixOrder       = "ord"
	PrefixTopUp       = "top"
	PrefixReview      = "rev"
	PrefixComment     = "com"
	PrefixTransaction = "txn"
	PrefixAlert       = "alr"
	PrefixAudit       = "aud"
	PrefixRollout     = "rol"
	PrefixSchedule    = "sch"
	PrefixEndpoint    = "whk"
	PrefixDelivery    = "msg"
	PrefixArtifact    = "art"

	PrefixToolApproval = "tap"
)

// length of an encoded ULID.
const ulidLength = 26

// New returns a fresh identifier of the kind T under its prefix.
func New[T ~string](prefix string) T {
	return T(prefix + "_" + strings.ToLower(ulid.Make().String()))
}

// Valid reports whether s is an identifier with this prefix. Identifiers that
// come from outside are checked with it before they reach a query.
func Valid(prefix, s string) bool {
	body, found := strings.CutPrefix(s, prefix+"_")
	if !found || len(body) != ulidLength || strings.ToLower(body) != body {
		return false
	}
	_, err := ulid.ParseStrict(strings.ToUpper(body))
	return err == nil
}

// Body returns what follows the prefix: the part that is fit for a DNS label.
func Body[T ~string](id T) string {
	_, body, _ := strings.Cut(string(id), "_")
	return body
}
