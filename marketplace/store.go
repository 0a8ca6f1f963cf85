package marketplace

import (
	"context"
	"time"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/money"
	"agentmarket/product"
)

// Store keeps the objects of the marketplace. Implementations prove themselves
// with internal/storetest. "Not found" is fault.NotFound, a name or prefix that
// is taken is fault.Conflict, a database that cannot answer is
// fault.Unavailable; everything else is an unclassified error.
//
// Every method that changes something for somebody takes the actor, and writes
// an entry of the audit log in the same transaction. Lists are newest first,
// before is their cursor.
type Store interface {
	OrganizationStore
	KeyStore
	MemberStore
	InvitationStore
	TeamStore
	AuditStore
	ListingStore
	GrantStore
	CatalogStore
	ReviewStore
	PriceStore
	EntitlementStore
	InstallationStore
	OrderStore
	LedgerStore
	TopUpStore
	SpendStore
	SecretStore
	Settlements
}

// OrganizationStore keeps organizations.
type OrganizationStore interface {
	// CreateOrganization stores an organization with its empty accounts; a
	// taken name is fault.Conflict.
	CreateOrganization(ctx context.Context, by audit.Actor, org Organization) error
	// Organization finds an organization by identifier.
	Organization(ctx context.Context, id ids.Org) (Organization, error)
	// OrganizationByName finds an organization by its unique name.
	OrganizationByName(ctx context.Context, name string) (Organization, error)
	// FindOrganizations finds many organizations by name and by identifier, in no
	// order. Those that do not exist are left out.
	FindOrganizations(ctx context.Context, names []string, orgs []ids.Org) ([]Organization, error)
	// Organizations lists all of them.
	Organizations(ctx context.Context, before ids.Org, limit int) ([]Organization, error)
}

// KeyStore keeps API keys.
type KeyStore interface {
	// CreateAPIKey stores a key of an existing organization. A person's key
	// needs her membership: fault.NotFound. More than MaxKeys that work are
	// fault.Conflict, too_many.
	CreateAPIKey(ctx context.Context, by audit.Actor, key APIKey) error
	// APIKeyByPrefix finds a key by the public part of its token. A person's key
	// has the role and the teams of her membership as they are now; without one
	// it is fault.NotFound.
	APIKeyByPrefix(ctx context.Context, prefix string) (APIKey, error)
	// TouchAPIKey records a use. It writes at most once a minute and key, so
	// that authentication stays a read.
	TouchAPIKey(ctx context.Context, id ids.Key, at time.Time) error
	// APIKey finds a key of an organization.
	APIKey(ctx context.Context, org ids.Org, id ids.Key) (APIKey, error)
	// APIKeys lists the keys of an organization.
	APIKeys(ctx context.Context, org ids.Org, before ids.Key, limit int) ([]APIKey, error)
	// RotateAPIKey stores next and ends old as [APIKey.Rotate] says. A key that
	// was rotated or revoked before is fault.Conflict, key_state.
	RotateAPIKey(ctx context.Context, by audit.Actor, old, next APIKey) error
	// RevokeAPIKey ends a key at once. A second call changes nothing.
	RevokeAPIKey(ctx context.Context, by audit.Actor, org ids.Org, id ids.Key, at time.Time) error
}

// MemberStore keeps people in organizations.
type MemberStore interface {
	// Members lists the members of an organization by user.
	Members(ctx context.Context, org ids.Org, before ids.User, limit int) ([]Member, error)
	// Member finds a member.
	Member(ctx context.Context, org ids.Org, user ids.User) (Member, error)
	// MemberByEmail finds a member by her normalized address.
	MemberByEmail(ctx context.Context, org ids.Org, email string) (Member, error)
	// AddMember makes a person a member, the user with it where the address is
	// new (then Member.User is as stored). fault.Conflict, member_exists.
	AddMember(ctx context.Context, by audit.Actor, m Member) (Member, error)
	// SetRole changes a member's role, and revokes the open invitations that she
	// made in the one before. The last owner stays one: fault.Conflict,
	// last_owner.
	SetRole(ctx context.Context, by audit.Actor, org ids.Org, user ids.User, role Role, at time.Time) (Member, error)
	// RemoveMember ends a membership, with its teams, its keys and the open
	// invitations that she made. The last owner stays: fault.Conflict,
	// last_owner.
	RemoveMember(ctx context.Context, by audit.Actor, org ids.Org, user ids.User, at time.Time) error
}

// InvitationStore keeps invitations.
type InvitationStore interface {
	// CreateInvitation stores an invitation.
	CreateInvitation(ctx context.Context, by audit.Actor, i Invitation) error
	// Invitation finds an invitation.
	Invitation(ctx context.Context, id ids.Invitation) (Invitation, error)
	// Invitations lists those of an organization.
	Invitations(ctx context.Context, org ids.Org, before ids.Invitation, limit int) ([]Invitation, error)
	// RevokeInvitation takes an invitation back; fault.NotFound unless it could
	// still be accepted.
	RevokeInvitation(ctx context.Context, by audit.Actor, org ids.Org, id ids.Invitation, at time.Time) error
	// AcceptInvitation uses an invitation up, makes the person a member and
	// stores her key, in one transaction. check is asked with the invitation
	// locked. The user of the returned member is the stored one, and so is the
	// key's. She is the actor, in the request.
	AcceptInvitation(ctx context.Context, request string, id ids.Invitation, check func(Invitation) error,
		user User, key APIKey, at time.Time) (Member, APIKey, error)
}

// TeamStore keeps teams.
type TeamStore interface {
	// CreateTeam stores a team; a taken name is fault.Conflict, team_taken.
	CreateTeam(ctx context.Context, by audit.Actor, t Team) error
	// Teams lists the teams of an organization with their members, by name.
	Teams(ctx context.Context, org ids.Org) ([]Team, error)
	// SetTeamMember takes a member of the organization into a team, or out of it.
	SetTeamMember(ctx context.Context, by audit.Actor, org ids.Org, team ids.Team, user ids.User, in bool, at time.Time) (Team, error)
	// DeleteTeam removes a team and what was granted to it.
	DeleteTeam(ctx context.Context, by audit.Actor, org ids.Org, team ids.Team, at time.Time) error
}

// AuditStore reads the audit log. Nothing writes it but the other methods.
type AuditStore interface {
	// Audit lists the entries about an organization.
	Audit(ctx context.Context, org ids.Org, q audit.Query) ([]audit.Entry, error)
}

// ListingStore keeps listings.
type ListingStore interface {
	// CreateListing stores a listing; fault.Conflict, listing_exists.
	CreateListing(ctx context.Context, by audit.Actor, l Listing) error
	// Listing finds the listing of an agent.
	Listing(ctx context.Context, agent ids.Agent) (Listing, error)
	// UpdateListing changes a listing in one transaction; action names the
	// change in the audit log. The comments are stored with it. An error of
	// change is returned as it is and nothing is stored.
	UpdateListing(ctx context.Context, by audit.Actor, agent ids.Agent, action string, comments []Comment, change func(*Listing) error) (Listing, error)
	// ListingsOf lists the listings of a publisher, in every state.
	ListingsOf(ctx context.Context, org ids.Org, before ids.Agent, limit int) ([]Listing, error)
	// Submissions lists the listings that are in review, oldest submission
	// first; after is the cursor.
	Submissions(ctx context.Context, after ids.Agent, limit int) ([]Listing, error)
	// Comments lists the comments on a listing; the internal ones only when asked
	// for.
	Comments(ctx context.Context, agent ids.Agent, internal bool, before ids.Comment, limit int) ([]Comment, error)
	// AverageRun is how long runs of an agent took that were charged or ended
	// well; 0: unknown.
	AverageRun(ctx context.Context, agent ids.Agent) (time.Duration, error)
	// FoldUsage carries the use of up to limit agents into the order of the
	// catalog, and returns how many had any.
	FoldUsage(ctx context.Context, limit int) (int, error)
	// FoldPrices carries the model of up to limit prices that were announced, and
	// took effect in the thirty days before now, into the catalog. It returns how
	// many listings had another model. One that fails keeps no other from being
	// carried; its error is returned.
	FoldPrices(ctx context.Context, now time.Time, limit int) (int, error)
}

// GrantStore keeps what publishers granted.
type GrantStore interface {
	// CreateGrant stores a grant, and the entitlement of access run with it. A
	// team or a user that is not of the organization is fault.NotFound; the
	// same grant twice fault.Conflict, grant_exists.
	CreateGrant(ctx context.Context, by audit.Actor, g Grant) error
	// Grants lists the grants of an agent.
	Grants(ctx context.Context, agent ids.Agent, before ids.Grant, limit int) ([]Grant, error)
	// RevokeGrant ends a grant and its entitlement. A second call changes
	// nothing.
	RevokeGrant(ctx context.Context, by audit.Actor, agent ids.Agent, id ids.Grant, at time.Time) error
}

// CatalogStore searches the catalog.
type CatalogStore interface {
	// Search returns a page of the published listings that the viewer may see.
	// Pages are stable: what is published meanwhile moves nothing from one page
	// to another.
	Search(ctx context.Context, v Viewer, q CatalogQuery, now time.Time) (CatalogPage, error)
}

// ReviewStore keeps reviews.
type ReviewStore interface {
	// PutReview stores the review of an organization for a version, or changes
	// the one there. Without a run of the version that started and ended it is
	// fault.Forbidden, review_needs_run.
	PutReview(ctx context.Context, by audit.Actor, r Review) (Review, error)
	// Reviews lists the reviews of an agent.
	Reviews(ctx context.Context, agent ids.Agent, before ids.Review, limit int) ([]Review, error)
	// DeleteReview removes a review of an organization; of any where it is
	// empty.
	DeleteReview(ctx context.Context, by audit.Actor, org ids.Org, id ids.Review, at time.Time) error
}

// PriceStore keeps prices.
type PriceStore interface {
	// SetPrice stores a price. check is asked with the agent's prices locked,
	// with those that are in effect or announced, by time; the new one must be
	// later than all of them.
	SetPrice(ctx context.Context, by audit.Actor, p Price, check func(known []Price) error) error
	// Prices lists the prices of an agent, the latest first.
	Prices(ctx context.Context, agent ids.Agent) ([]Price, error)
	// PricesOf finds the prices of many agents that are in effect at a time.
	// Agents without one are left out.
	PricesOf(ctx context.Context, agents []ids.Agent, at time.Time) (map[ids.Agent]Price, error)
	// CancelPrice removes a price that is announced and not in effect yet;
	// fault.Conflict, price_in_effect.
	CancelPrice(ctx context.Context, by audit.Actor, agent ids.Agent, id ids.Price, now time.Time) error
}

// EntitlementStore answers who may run what.
type EntitlementStore interface {
	// Claim reads everything that decides about a start, in one query. An agent
	// that does not exist is fault.NotFound.
	Claim(ctx context.Context, q ClaimQuery) (Claim, error)
	// Entitle stores a right that comes from nothing else: ownership. One that
	// is there stays as it is.
	Entitle(ctx context.Context, by audit.Actor, e Entitlement) error
	// Entitlements lists the rights of an organization.
	Entitlements(ctx context.Context, org ids.Org, before ids.Entitlement, limit int) ([]Entitlement, error)
	// UpdateEntitlement changes limits, versions, and whether it holds. An error
	// of change is returned as it is.
	UpdateEntitlement(ctx context.Context, by audit.Actor, org ids.Org, id ids.Entitlement, now time.Time, change func(*Entitlement) error) (Entitlement, error)
}

// InstallationStore keeps how organizations use agents.
type InstallationStore interface {
	// Installation finds the installation of an agent.
	Installation(ctx context.Context, org ids.Org, agent ids.Agent) (Installation, error)
	// UpdateInstallation changes an installation, or a new one that follows the
	// stable channel. An error of change is returned as it is.
	UpdateInstallation(ctx context.Context, by audit.Actor, org ids.Org, agent ids.Agent, now time.Time, change func(*Installation) error) (Installation, error)
	// Installations lists those of an organization by agent.
	Installations(ctx context.Context, org ids.Org, before ids.Agent, limit int) ([]Installation, error)
}

// OrderStore keeps purchases.
type OrderStore interface {
	// PlaceOrder stores, in one transaction, the purchase that buy makes of the
	// claim, its entitlement, its first payment (the transaction that pay
	// returns; nil: none) against wallet and spend limits, and the consent to
	// version (nil: none yet). The second result is false for an order that the
	// same request made before. Refusals: those of buy, insufficient_funds and
	// spend_limit_reached.
	PlaceOrder(ctx context.Context, by audit.Actor, q ClaimQuery, key *RequestKey, version *product.Version,
		buy func(Claim) (Purchase, error), pay func(Purchase) (*Transaction, error)) (Order, bool, error)
	// Order finds an order of an organization.
	Order(ctx context.Context, org ids.Org, id ids.Order) (Order, error)
	// Orders lists the orders of an organization.
	Orders(ctx context.Context, org ids.Org, before ids.Order, limit int) ([]Order, error)
	// CancelOrder ends the renewal of a subscription, or the right of an order
	// by use or of a trial at once. A second call changes nothing.
	CancelOrder(ctx context.Context, by audit.Actor, org ids.Org, id ids.Order, at time.Time) (Order, error)
	// RenewDue pays up to limit subscriptions whose month is over, each in a
	// transaction of its own, as [Entitlement.Renewed] says. One that cannot be
	// paid ends. It returns how many were due. Two callers renew none twice. One
	// that fails keeps no other from being renewed; its error is returned.
	RenewDue(ctx context.Context, now time.Time, limit int, feeBasisPoints int64) (int, error)
}

// LedgerStore keeps the ledger.
type LedgerStore interface {
	// Accounts returns the accounts of an organization: wallet, held, earnings.
	Accounts(ctx context.Context, org ids.Org) ([]Account, error)
	// SetCredit changes how far a wallet may go below zero. Less than it is below
	// zero now is fault.Conflict, credit_in_use.
	SetCredit(ctx context.Context, by audit.Actor, org ids.Org, credit money.Amount, at time.Time) (Account, error)
	// Post stores a transaction that needs nothing but its accounts: a credit, a
	// payout. A wallet that would go below its limit, or earnings below zero, is
	// fault.PaymentRequired, insufficient_funds; another currency than an account
	// has had is fault.Invalid, currency_mismatch. The second result is false for
	// what the same request made before.
	//
	// Of every transaction: the month of an account never goes back. What comes
	// late for one that is over is of the month that the account is in.
	Post(ctx context.Context, by audit.Actor, t Transaction, key *RequestKey) (Transaction, bool, error)
	// Transaction finds a transaction.
	Transaction(ctx context.Context, id ids.Transaction) (Transaction, error)
	// Transactions lists those that touch an account.
	Transactions(ctx context.Context, account ids.Account, before ids.Transaction, limit int) ([]Transaction, error)
	// TransactionsOfRun lists what moved for a run, oldest first: its hold, its
	// charge or release, and the refunds of the charge.
	TransactionsOfRun(ctx context.Context, run ids.Run) ([]Transaction, error)
	// Refund stores the transaction that refund makes of a locked one and of
	// what was refunded of it before. A subscription whose month goes on ends
	// when that month is given back whole: [OrderRefunded].
	Refund(ctx context.Context, by audit.Actor, of ids.Transaction, key *RequestKey,
		refund func(of Transaction, refunded money.Amount) (Transaction, error)) (Transaction, bool, error)
	// Statement sums a month of an organization up. What is only held, or given
	// back of it, is in no line.
	Statement(ctx context.Context, org ids.Org, month Month, currency string) (Statement, error)
}

// TopUpStore keeps payments into wallets.
type TopUpStore interface {
	// CreateTopUp stores a payment that is pending. The second result is false
	// for one that the same request made before.
	CreateTopUp(ctx context.Context, by audit.Actor, t TopUp, key *RequestKey) (TopUp, bool, error)
	// TopUp finds a payment.
	TopUp(ctx context.Context, id ids.TopUp) (TopUp, error)
	// TopUps lists the payments of an organization; of all where it is empty.
	TopUps(ctx context.Context, org ids.Org, before ids.TopUp, limit int) ([]TopUp, error)
	// ConfirmTopUp credits the wallet, once. A second call changes nothing.
	ConfirmTopUp(ctx context.Context, by audit.Actor, id ids.TopUp, at time.Time) (TopUp, error)
}

// SpendStore keeps what organizations allow themselves to spend.
type SpendStore interface {
	// SetSpendLimit stores a limit, or changes the one there.
	SetSpendLimit(ctx context.Context, by audit.Actor, l SpendLimit) error
	// DeleteSpendLimit removes a limit; fault.NotFound.
	DeleteSpendLimit(ctx context.Context, by audit.Actor, org ids.Org, scope SpendScope, user ids.User, at time.Time) error
	// Spending reads the limits of an organization and what was spent in a
	// month, by it and by a person (empty: by nobody in particular).
	Spending(ctx context.Context, org ids.Org, user ids.User, month Month) (Spending, error)
	// Alerts lists the alerts of an organization.
	Alerts(ctx context.Context, org ids.Org, before ids.Alert, limit int) ([]Alert, error)
}

// Settlements joins the money of a run with its record: each method is one
// transaction over both, locks the run first, and may be repeated.
type Settlements interface {
	// AdmitRun changes a run as product.RunStore.UpdateRun does. When change
	// left it with an attempt and nothing is held for it yet, the run takes its
	// slot: under every limit of its scopes, or none. Where one is reached, the
	// change is not stored; the run stays queued, gets its place in the queue and
	// the event queued, and AdmitRun returns where it stands. A limit that no
	// waiting mends is fault.Forbidden, limit_reached. With the slot, decide is
	// asked
	// with the claim (of the price in the run's plan), its entitlements locked;
	// what it returns is held: the wallet, the spend of the month and the use of
	// the entitlement, all or nothing. An error of change or decide undoes
	// everything and is returned as it is.
	AdmitRun(ctx context.Context, id ids.Run, now time.Time, change func(*product.Run) ([]*product.Event, error),
		decide func(product.Run, Claim, Spending) (Hold, error)) (product.Run, *product.Wait, error)
	// SettleRun changes a run as UpdateRun does. When change left it in a terminal
	// state, its slot or its place in the queue ends; a free slot is handed to the
	// next runs in the queue, which SettleRun returns. When change left it in a
	// terminal state and something is still held for it, settle says what it
	// cost, and the hold becomes charges or is released, once and for good. The
	// cost is stored with the run.
	SettleRun(ctx context.Context, id ids.Run, now time.Time, change func(*product.Run) ([]*product.Event, error),
		settle func(product.Run, Hold, Used) Settlement) (product.Run, []ids.Run, error)
	// ChargeEvent records a named event of a run that goes on, as
	// [Hold.Charge] allows. The same key again returns the first charge.
	// An attempt that is not open, see [product.Run.Open], charges for nothing.
	ChargeEvent(ctx context.Context, run ids.Run, attempt int, key, event string, count int64, at time.Time) (EventCharge, error)
	// ReserveModel makes room for a call of a model, see [ModelReservation]; it returns
	// how much.
	ReserveModel(ctx context.Context, r ModelReservation) (money.Amount, error)
	// SettleModel replaces the reservation of a call by what it used. Once: again, or
	// when the run has been settled, nothing changes.
	SettleModel(ctx context.Context, run ids.Run, key string, u ModelUsage) error
	// HoldOf finds what is or was held for a run; fault.NotFound.
	HoldOf(ctx context.Context, run ids.Run) (Hold, error)
}
