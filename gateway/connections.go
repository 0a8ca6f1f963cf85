package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/gateway/egress"
	"agentmarket/infra"
	"agentmarket/product"
)

// forwardProxy is what the plans of runs grant of the world outside.
func (g *gateway) forwardProxy() *egress.Proxy {
	c := g.Egress
	c.Session, c.Begin, c.End = g.egressSession, g.egressBegan, g.egressEnded
	c.Refuse = func(w http.ResponseWriter, r *http.Request, err error) { g.fail(w, r, infra.Ref{}, err) }
	c.Log, c.Now = g.Log, g.Now
	return egress.New(c)
}

// proxied reports whether a request is for the forward proxy: a CONNECT, or one for
// another server, which is refused there.
func proxied(r *http.Request) bool { return r.Method == http.MethodConnect || r.URL.IsAbs() }

// egressSession is whose connection it is. The token is for the proxy, not for the host.
func (g *gateway) egressSession(r *http.Request) (egress.Session, error) {
	token, ok := bearerOf(r.Header.Get("Proxy-Authorization"))
	if !ok {
		return egress.Session{}, fault.New(fault.Unauthenticated, "token_missing", "connections need the pod's token: Proxy-Authorization: Bearer …")
	}
	ref, err := g.Identities.Attempt(r.Context(), token)
	if err != nil {
		return egress.Session{}, err
	}
	if err := g.limits.enter(ref.Run); err != nil {
		return egress.Session{}, err
	}
	defer g.limits.leave(ref.Run)
	run, err := g.open(r.Context(), ref)
	if err != nil {
		return egress.Session{}, err
	}
	ended, done := g.watch.add(ref)
	context.AfterFunc(r.Context(), done) // which ends with the connection
	return egress.Session{Run: ref.Run, Attempt: ref.Attempt, Hosts: run.Plan.Egress, Ended: ended}, nil
}

// egressBegan keeps that a connection begins, if the attempt goes on.
func (g *gateway) egressBegan(ctx context.Context, c egress.Connection) error {
	return g.tellConnection(ctx, product.EventEgressBegan, c, false)
}

// egressEnded keeps how one ended, or that it was refused.
func (g *gateway) egressEnded(ctx context.Context, c egress.Connection) error {
	if c.Refused() {
		err := g.tellConnection(ctx, product.EventEgressRefused, c, false)
		if fault.Is(err, fault.Conflict) || fault.Is(err, fault.RateLimited) {
			return nil // nothing was connected, and the attempt is over or has told enough
		}
		return err
	}
	return g.tellConnection(ctx, product.EventEgressEnded, c, true)
}

// connection is what an event says of a connection.
type connection struct {
	Host     string         `json:"host,omitempty"`
	Port     uint16         `json:"port,omitempty"`
	Address  string         `json:"address,omitempty"`
	Outcome  egress.Outcome `json:"outcome,omitempty"`
	Sent     *int64         `json:"sent_bytes,omitempty"`
	Received *int64         `json:"received_bytes,omitempty"`
	Millis   *int64         `json:"duration_ms,omitempty"`
}

func (g *gateway) tellConnection(ctx context.Context, event product.EventType, c egress.Connection, late bool) error {
	said := connection{Host: c.Host, Port: c.Port, Outcome: c.Outcome}
	message := c.Target
	if c.Host != "" {
		message = fmt.Sprintf("%s:%d", c.Host, c.Port)
	}
	if c.Address.IsValid() {
		said.Address = c.Address.String()
	}
	if late {
		said.Sent, said.Received, said.Millis = &c.Sent, &c.Received, new(int64(c.Duration/time.Millisecond))
	}
	data, err := json.Marshal(said)
	if err != nil {
		return fmt.Errorf("write connection: %w", err)
	}
	return g.tells.tell(ctx, product.Told{Run: c.Run, Attempt: c.Attempt, Late: late, Events: []product.Event{{
		Type: event, At: g.Now(), Message: message, Data: data,
	}}})
}
