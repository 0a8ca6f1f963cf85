package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// caller is who makes a request.
type caller struct {
	org ids.Org
	key ids.Key // empty: the smoke test from this computer
}

type middleware = func(ctx huma.Context, next func(huma.Context))

// authorize lets a request pass that carries an API key with the scope and is
// within its rate limit.
func (a *app) authorize(scope marketplace.Scope) middleware {
	return func(ctx huma.Context, next func(huma.Context)) {
		c := humagin.Unwrap(ctx)
		key, err := a.authenticate(c.Request.Context(), c.Request.Header)
		if err != nil {
			a.fail(c, err)
			return
		}
		requestOf(c.Request.Context()).caller = caller{org: key.OrgID, key: key.ID}
		touch, err := a.spend(c.Writer.Header(), string(key.ID))
		if err == nil {
			err = requireScope(key, scope)
		}
		if touch {
			a.touch(c.Request.Context(), key.ID)
		}
		if err != nil {
			a.fail(c, err)
			return
		}
		next(ctx)
	}
}

// authenticate finds the key of a request with one query. A key that does not
// exist and a wrong secret get the same answer.
func (a *app) authenticate(ctx context.Context, header http.Header) (marketplace.APIKey, error) {
	invalid := fault.New(fault.Unauthenticated, "key_invalid", "the API key is not valid")
	text := header.Get("Authorization")
	if text == "" {
		return marketplace.APIKey{}, newProblem(http.StatusUnauthorized, "key_missing",
			"send an API key as Authorization: Bearer amk_…").
			with("WWW-Authenticate", `Bearer realm="agentmarket"`)
	}
	scheme, token, _ := strings.Cut(text, " ")
	prefix, secret, ok := marketplace.ParseToken(strings.TrimLeft(token, " "))
	if !strings.EqualFold(scheme, "Bearer") || !ok {
		return marketplace.APIKey{}, invalid
	}
	key, err := a.Marketplace.APIKeyByPrefix(ctx, prefix)
	if fault.Is(err, fault.NotFound) {
		return marketplace.APIKey{}, invalid
	}
	if err != nil {
		return marketplace.APIKey{}, fmt.Errorf("find API key: %w", err)
	}
	return key, key.Verify(secret, a.Now())
}

func requireScope(key marketplace.APIKey, scope marketplace.Scope) error {
	err := key.Require(scope)
	if err == nil {
		return nil
	}
	return problemFrom(err).with("WWW-Authenticate",
		fmt.Sprintf(`Bearer realm="agentmarket", error="insufficient_scope", scope=%q`, scope))
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
		a.authorize(marketplace.ScopeRunsWrite)(ctx, next)
		return
	}
	requestOf(c.Request.Context()).caller = caller{org: a.SmokeTest.OrgID}
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
