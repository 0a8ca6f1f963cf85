package api

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

type middleware = func(ctx huma.Context, next func(huma.Context))

// authorize lets a request pass whose caller may do the action and is within his
// rate limit.
func (a *app) authorize(action marketplace.Action) middleware {
	return func(ctx huma.Context, next func(huma.Context)) {
		c := humagin.Unwrap(ctx)
		caller, err := a.authenticate(c.Request.Context(), c.Request.Header)
		if err != nil {
			a.fail(c, err)
			return
		}
		requestOf(c.Request.Context()).caller = caller
		bucket := cmp.Or(string(caller.KeyID), string(caller.OrgID)+"/"+string(caller.UserID))
		touch, err := a.spend(c.Writer.Header(), bucket)
		if err == nil {
			err = permitted(caller, action)
		}
		if touch && caller.KeyID != "" {
			a.touch(c.Request.Context(), caller.KeyID)
		}
		if err != nil {
			a.fail(c, err)
			return
		}
		next(ctx)
	}
}

// authenticate finds the caller of a request, by an API key with one query. A key
// that does not exist and a wrong secret get the same answer.
func (a *app) authenticate(ctx context.Context, header http.Header) (marketplace.Principal, error) {
	invalid := fault.New(fault.Unauthenticated, "key_invalid", "the API key is not valid")
	text := header.Get("Authorization")
	if text == "" {
		return marketplace.Principal{}, newProblem(http.StatusUnauthorized, "key_missing",
			"send an API key as Authorization: Bearer amk_…").
			with("WWW-Authenticate", `Bearer realm="agentmarket"`)
	}
	scheme, token, _ := strings.Cut(text, " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return marketplace.Principal{}, invalid
	}
	prefix, secret, ok := marketplace.ParseToken(token)
	if !ok && a.Identity != nil && !strings.HasPrefix(token, "amk_") {
		return a.authenticatePerson(ctx, header, token)
	}
	if !ok {
		return marketplace.Principal{}, invalid
	}
	key, err := a.Marketplace.APIKeyByPrefix(ctx, prefix)
	if fault.Is(err, fault.NotFound) {
		return marketplace.Principal{}, invalid
	}
	if err != nil {
		return marketplace.Principal{}, fmt.Errorf("find API key: %w", err)
	}
	return key.Principal(), key.Verify(secret, a.Now())
}

// headerOrganization names the organization that a person acts in, who may be a
// member of several. A key has only one.
const headerOrganization = "Agentmarket-Organization"

// authenticatePerson finds the member whom the identity provider vouches for. A
// person without a verified address, and one who is no member, are nobody here.
func (a *app) authenticatePerson(ctx context.Context, header http.Header, token string) (marketplace.Principal, error) {
	nobody := fault.New(fault.Unauthenticated, "key_invalid", "the token does not identify a member of the organization")
	person, err := a.Identity.Identify(ctx, token)
	if err != nil {
		return marketplace.Principal{}, fmt.Errorf("identify person: %w", err)
	}
	email, err := marketplace.NormalEmail(person.Email, "")
	if err != nil || !person.EmailVerified {
		return marketplace.Principal{}, nobody
	}
	org, err := a.Marketplace.OrganizationByName(ctx, header.Get(headerOrganization))
	var member marketplace.Member
	if err == nil {
		member, err = a.Marketplace.MemberByEmail(ctx, org.ID, email)
	}
	if fault.Is(err, fault.NotFound) {
		return marketplace.Principal{}, nobody
	}
	if err != nil {
		return marketplace.Principal{}, fmt.Errorf("find member: %w", err)
	}
	return marketplace.Principal{
		OrgID: org.ID, UserID: member.User.ID, Teams: member.Teams, Role: member.Role, Scopes: marketplace.AllScopes(),
	}, nil
}

func permitted(caller marketplace.Principal, action marketplace.Action) error {
	err := caller.Require(action)
	if err == nil || fault.From(err).Code != "scope_missing" {
		return err
	}
	return problemFrom(err).with("WWW-Authenticate",
		fmt.Sprintf(`Bearer realm="agentmarket", error="insufficient_scope", scope=%q`, action.Scope()))
}

// actor is the caller for the audit log.
func actor(ctx context.Context) audit.Actor {
	r := requestOf(ctx)
	return r.caller.Actor(r.id)
}

// organization finds the organization of a path. The caller's own, and for
// operators every one; others do not exist.
func (a *app) organization(ctx context.Context, name string) (marketplace.Organization, error) {
	org, err := a.Marketplace.OrganizationByName(ctx, name)
	if fault.Is(err, fault.NotFound) || err == nil && !requestOf(ctx).caller.Reaches(org.ID) {
		return marketplace.Organization{}, fault.Newf(fault.NotFound, "organization_not_found", "there is no organization %s", name)
	}
	return org, err
}

// spend takes a request from the budget of a caller and says in the headers
// what is left. It also tells when the use of the key is to be recorded.
func (a *app) spend(header http.Header, bucket string) (touch bool, err error) {
	left := a.limits.take(bucket, a.Now())
	if left.unlimited {
		return left.touch, nil
	}
	header.Set("RateLimit-Limit", strconv.Itoa(left.limit))
	header.Set("RateLimit-Remaining", strconv.Itoa(left.remaining))
	header.Set("RateLimit-Reset", strconv.Itoa(left.resetSeconds))
	if left.allowed {
		return left.touch, nil
	}
	return left.touch, newProblem(http.StatusTooManyRequests, string(fault.RateLimited),
		"this API key has made too many requests").
		with("Retry-After", strconv.Itoa(left.retrySeconds))
}

// touch records the use of a key beside the request, which never waits for it
// and never fails with it. When too many are under way this one is left out.
func (a *app) touch(ctx context.Context, key ids.Key) {
	select {
	case a.touches <- struct{}{}:
	default:
		return
	}
	at := a.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	go func() {
		defer func() { cancel(); <-a.touches }()
		if err := a.Marketplace.TouchAPIKey(ctx, key, at); err != nil {
			a.Log.WarnContext(ctx, "use of API key not recorded", "key_id", key, "error", err)
		}
	}()
}

// authorizeSmokeTest lets callers on this computer pass without a key, where
// that is configured; all others need one.
func (a *app) authorizeSmokeTest(ctx huma.Context, next func(huma.Context)) {
	c := humagin.Unwrap(ctx)
	keyless := a.SmokeTest != nil && a.SmokeTest.OrgID != "" &&
		c.Request.Header.Get("Authorization") == "" && fromThisComputer(c.Request)
	if !keyless {
		a.authorize(marketplace.ActRunsStart)(ctx, next)
		return
	}
	requestOf(c.Request.Context()).caller = marketplace.Principal{
		OrgID: a.SmokeTest.OrgID, Role: marketplace.RoleMember, Scopes: []marketplace.Scope{marketplace.ScopeRunsWrite},
	}
	if _, err := a.spend(c.Writer.Header(), "loopback"); err != nil {
		a.fail(c, err)
		return
	}
	next(ctx)
}

// fromThisComputer reports whether a request was made on this computer, by a
// program rather than by a web page of a stranger: the connection comes from a
// loopback address, no proxy stands between, the name that was asked for is
// local (a page that points its own name at 127.0.0.1 gets no further), and no
// browser sent it from another site.
func fromThisComputer(r *http.Request) bool {
	for _, sign := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via", "Origin"} {
		if r.Header.Get(sign) != "" {
			return false
		}
	}
	return isLoopback(r.RemoteAddr) && isLoopback(r.Host)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
