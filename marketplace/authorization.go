package marketplace

import (
	"context"
	"slices"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
)

// Role says what a member, or a program with a key, may do in an organization.
type Role string

// The roles. Operator stands above organizations; it is given on the platform's
// own computer only, never by a call of the API.
const (
	RoleOwner     Role = "owner"     // everything, other owners included
	RoleAdmin     Role = "admin"     // everything but owners
	RolePublisher Role = "publisher" // publishes and runs agents
	RoleMember    Role = "member"    // runs agents
	RoleAuditor   Role = "auditor"   // reads everything, changes nothing
	RoleOperator  Role = "operator"  // of the platform: reviews, suspends, credits
)

// Roles returns every role.
func Roles() []Role {
	return []Role{RoleOwner, RoleAdmin, RolePublisher, RoleMember, RoleAuditor, RoleOperator}
}

// OfOrganization reports whether the role can be held in an organization.
func (r Role) OfOrganization() bool { return r != RoleOperator && slices.Contains(Roles(), r) }

// MayGive reports whether somebody in this role may give, change or take the
// other one: nobody gives what he has not got himself.
func (r Role) MayGive(other Role) bool {
	switch r {
	case RoleOwner:
		return other.OfOrganization()
	case RoleAdmin:
		return other.OfOrganization() && other != RoleOwner
	default:
		return false
	}
}

// Action is a kind of call. Each call of the API is one of them.
type Action string

// The actions.
const (
	ActAgentsRead         Action = "agents.read"          // catalog, listings, versions, entitlements
	ActAgentsPublish      Action = "agents.publish"       // versions, channels
	ActListingsManage     Action = "listings.manage"      // listing, submission, grants
	ActPricesManage       Action = "prices.manage"        //
	ActReviewsWrite       Action = "reviews.write"        // a buyer's opinion
	ActRunsRead           Action = "runs.read"            //
	ActRunsStart          Action = "runs.start"           // start, estimate
	ActRunsCancel         Action = "runs.cancel"          //
	ActRunsApprove        Action = "runs.approve"         // decide about runs that wait for a person
	ActSchedulesManage    Action = "schedules.manage"     //
	ActRolloutsManage     Action = "rollouts.manage"      //
	ActPoliciesManage     Action = "policies.manage"      // policies and limits of the own organization
	ActWebhooksManage     Action = "webhooks.manage"      //
	ActSecretsManage      Action = "secrets.manage"       // write, never read
	ActInstallationManage Action = "installations.manage" // pin, channel, consent
	ActOrdersCreate       Action = "orders.create"        // order, cancel a subscription
	ActBillingRead        Action = "billing.read"         // wallet, ledger, statements, orders, spend limits
	ActBillingManage      Action = "billing.manage"       // top up, spend limits
	ActRefundsCreate      Action = "refunds.create"       // of what the own organization earned
	ActOrganizationRead   Action = "organization.read"    // the organization, its members, teams
	ActMembersManage      Action = "members.manage"       // invitations, roles, teams
	ActKeysManage         Action = "keys.manage"          //
	ActKeysRotate         Action = "keys.rotate"          // the own key; others' need keys.manage
	ActAuditRead          Action = "audit.read"           //
	ActPlatformRead       Action = "platform.read"        // submissions, organizations
	ActPlatformReview     Action = "platform.review"      // approve, reject, suspend
	ActPlatformBilling    Action = "platform.billing"     // credits, confirmations, refunds
	ActPlatformOrgs       Action = "platform.organizations"
	ActPlatformPolicies   Action = "platform.policies" // policies and limits of the platform
)

// permission is a row of the table: who may, and with which scope of a key.
type permission struct {
	scope Scope
	roles []Role
}

var (
	everybody  = []Role{RoleOwner, RoleAdmin, RolePublisher, RoleMember, RoleAuditor, RoleOperator}
	insiders   = []Role{RoleOwner, RoleAdmin, RolePublisher, RoleMember, RoleAuditor}
	workers    = []Role{RoleOwner, RoleAdmin, RolePublisher, RoleMember}
	publishers = []Role{RoleOwner, RoleAdmin, RolePublisher}
	admins     = []Role{RoleOwner, RoleAdmin}
	inspectors = []Role{RoleOwner, RoleAdmin, RoleAuditor, RoleOperator}
	operators  = []Role{RoleOperator}
)

// permissions is the one table of role × action.
var permissions = map[Action]permission{
	ActAgentsRead:         {ScopeAgentsRead, everybody},
	ActAgentsPublish:      {ScopeAgentsWrite, publishers},
	ActListingsManage:     {ScopeAgentsWrite, publishers},
	ActPricesManage:       {ScopeAgentsWrite, publishers},
	ActReviewsWrite:       {ScopeRunsWrite, workers},
	ActRunsRead:           {ScopeRunsRead, insiders},
	ActRunsStart:          {ScopeRunsWrite, workers},
	ActRunsCancel:         {ScopeRunsWrite, workers},
	ActRunsApprove:        {ScopeRunsWrite, admins},
	ActSchedulesManage:    {ScopeRunsWrite, workers},
	ActRolloutsManage:     {ScopeAgentsWrite, publishers},
	ActPoliciesManage:     {ScopeOrgWrite, admins},
	ActWebhooksManage:     {ScopeOrgWrite, admins},
	ActSecretsManage:      {ScopeOrgWrite, admins},
	ActInstallationManage: {ScopeOrgWrite, admins},
	ActOrdersCreate:       {ScopeBillingWrite, admins},
	ActBillingRead:        {ScopeBillingRead, inspectors},
	ActBillingManage:      {ScopeBillingWrite, admins},
	ActRefundsCreate:      {ScopeBillingWrite, []Role{RoleOwner, RoleAdmin, RoleOperator}},
	ActOrganizationRead:   {ScopeOrgRead, everybody},
	ActMembersManage:      {ScopeOrgWrite, admins},
	ActKeysManage:         {ScopeOrgWrite, admins},
	ActKeysRotate:         {ScopeOrgRead, everybody},
	ActAuditRead:          {ScopeAuditRead, inspectors},
	ActPlatformRead:       {ScopePlatform, operators},
	ActPlatformReview:     {ScopePlatform, operators},
	ActPlatformBilling:    {ScopePlatform, operators},
	ActPlatformOrgs:       {ScopePlatform, operators},
	ActPlatformPolicies:   {ScopePlatform, operators},
}

// Actions returns every action, sorted.
func Actions() []Action {
	var list []Action
	for a := range permissions {
		list = append(list, a)
	}
	slices.Sort(list)
	return list
}

// Scope is the scope that a key needs for the action.
func (a Action) Scope() Scope { return permissions[a].scope }

// Allows reports whether a role may do the action.
func (r Role) Allows(a Action) bool { return slices.Contains(permissions[a].roles, r) }

// Principal is who makes a request.
type Principal struct {
	OrgID  ids.Org
	KeyID  ids.Key
	UserID ids.User   // empty: a program
	Teams  []ids.Team // of the user
	Role   Role
	Scopes []Scope
}

// Require returns nil when the principal may do the action, else
// fault.Forbidden: role_missing, or scope_missing for a key that was given less
// than its role has.
func (p Principal) Require(a Action) error {
	if !p.Role.Allows(a) {
		return fault.Newf(fault.Forbidden, "role_missing", "the role %s may not do this: %s", p.Role, a)
	}
	if !slices.Contains(p.Scopes, a.Scope()) {
		return fault.Newf(fault.Forbidden, "scope_missing", "this API key lacks the scope %s", a.Scope())
	}
	return nil
}

// Reaches reports whether the principal may know of objects of an organization:
// its own, and for an operator every one.
func (p Principal) Reaches(org ids.Org) bool { return p.OrgID == org || p.Role == RoleOperator }

// Actor is the principal for the audit log.
func (p Principal) Actor(requestID string) audit.Actor {
	a := audit.Actor{Kind: audit.KindKey, ID: string(p.KeyID), Org: p.OrgID, RequestID: requestID}
	switch {
	case p.Role == RoleOperator:
		a.Kind = audit.KindOperator
	case p.UserID != "":
		a.Kind, a.ID = audit.KindUser, string(p.UserID)
	}
	return a
}

// Identity is a person as an identity provider knows her.
type Identity struct {
	Issuer, Subject string
	Email           string
	EmailVerified   bool
	Name            string
}

// IdentityProvider verifies what a person signs in with, an OpenID Connect
// token. The platform has none of its own yet; the API takes one and finds the
// member by her verified address.
type IdentityProvider interface {
	// Identify verifies a token; one that is not good is fault.Unauthenticated.
	Identify(ctx context.Context, token string) (Identity, error)
}
