package gateway

import (
	"context"
	"net/http"

	"agentmarket/fault"
	"agentmarket/infra"
	"agentmarket/product"
)

// begin finds out whose call it is that may take long: of a model or a tool. There are
// few of them at once, beside the other calls of the run; they end with the session,
// when the channel is closed.
func (g *gateway) begin(r *http.Request) (product.Run, infra.Ref, <-chan struct{}, error) {
	fail := func(err error) (product.Run, infra.Ref, <-chan struct{}, error) {
		return product.Run{}, infra.Ref{}, nil, err
	}
	token, ok := bearer(r)
	if !ok {
		return fail(fault.New(fault.Unauthenticated, "token_missing", "calls need the pod's token: Authorization: Bearer …"))
	}
	ref, err := g.Identities.Attempt(r.Context(), token)
	if err != nil {
		return fail(err)
	}
	if err := g.limits.enter(ref.Run); err != nil {
		return fail(err)
	}
	defer g.limits.leave(ref.Run)
	run, err := g.open(r.Context(), ref)
	if err != nil {
		return fail(err)
	}
	if err := g.limits.enterLong(ref.Run); err != nil {
		return fail(err)
	}
	ended, done := g.watch.add(ref)
	context.AfterFunc(r.Context(), func() { // which ends with the call
		done()
		g.limits.leaveLong(ref.Run)
	})
	return run, ref, ended, nil
}
