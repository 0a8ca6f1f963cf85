package models

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"agentmarket/money"
)

const (
	// overheadTokens is what an upstream adds to the input by itself.
	overheadTokens = 256
	// leastOutput is how many output tokens a budget must pay for, for a call to be
	// worth its input.
	leastOutput = 16
	// Times for the meter. A call that is broken off is settled all the same.
	reserveTimeout = 5 * time.Second
	settleTimeout  = 5 * time.Second
	settleTries    = 3
	settlePause    = 250 * time.Millisecond
)

// Why a call ends before its answer.
var (
	errCallTimeout  = errors.New("the call took too long")
	errSilence      = errors.New("the upstream fell silent")
	errSessionEnded = errors.New("the session of the run has ended")
)

// call is one call of a run, from its reservation to its settlement.
type call struct {
	e        *endpoint
	session  Session
	model    Model
	upstream Upstream
	request  request
	body     []byte // for the upstream
	secret   string // the key of the upstream
	own      bool   // the secret is the buyer's
	key      string // of the reservation
	reserved money.Amount
	bound    bound
	tally    tally
	settled  sync.Once
}

// bound is the most that a call may use.
type bound struct {
	bytes         int64 // of text in the body
	partTokens    int64
	input, output int64 // tokens, of all choices
}

// complete answers POST /v1/chat/completions.
func (e *endpoint) complete(w http.ResponseWriter, r *http.Request, s Session) error {
	text, err := readBody(w, r)
	if err != nil {
		return err
	}
	asked, err := parse(text)
	if err != nil {
		return err
	}
	model, err := e.catalog.model(s, asked.model)
	if err != nil {
		return err
	}
	if asked.media.parts > 0 && model.PartTokens == 0 {
		return refuse("messages", "the model takes text only")
	}
	c := &call{e: e, session: s, model: model, upstream: e.catalog.upstreams[model.Upstream], request: asked}
	if err := c.unlock(r.Context()); err != nil {
		return err
	}
	if err := c.reserve(r.Context()); err != nil {
		return err
	}
	defer c.settle(r.Context())
	ctx, end := c.lifetime(r.Context())
	defer end(nil)
	if asked.stream {
		return c.stream(ctx, end, w)
	}
	return c.answer(ctx, w)
}

// unlock gets the key of the upstream. With a key of the buyer's own the call costs
// nothing here; one that cannot be read now is no reason to charge for it.
func (c *call) unlock(ctx context.Context) error {
	var err error
	if c.secret, c.own, err = c.upstream.keyFor(ctx, c.session); err != nil {
		return misconfigured(fmt.Errorf("read key of upstream %s: %w", c.upstream.Name, err))
	}
	if c.own {
		c.model.InputPrice, c.model.OutputPrice = 0, 0
	}
	return nil
}

// reserve takes room for the call, and lowers its output to what that pays for.
func (c *call) reserve(ctx context.Context) error {
	most := c.model.MaxOutputTokens
	if c.request.most > 0 {
		most = min(most, c.request.most)
	}
	body, err := c.request.encode(c.model, c.session.Org, most)
	if err != nil {
		return err
	}
	parts := c.request.media.parts * c.model.PartTokens
	c.bound = bound{bytes: int64(len(body)) - c.request.media.bytes, partTokens: parts}
	c.bound.input = c.bound.bytes + parts + overheadTokens
	choices := c.request.choices

	// An agent that hangs up now must not leave a reservation of which nobody knows.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), reserveTimeout)
	defer cancel()
	c.key = rand.Text()
	c.reserved, err = c.e.Meter.Reserve(asking, Reservation{
		Run: c.session.Run, Attempt: c.session.Attempt, Key: c.key, Model: c.model.Name,
		Least:   c.model.cost(c.bound.input, choices*min(most, leastOutput)),
		Most:    c.model.cost(c.bound.input, choices*most),
		Expires: c.e.Now().Add(c.e.CallTimeout + reserveTimeout + 2*settleTries*settleTimeout),
	})
	if err != nil {
		return err
	}
	most = c.model.affordable(c.reserved, c.bound.input, choices, most)
	c.bound.output = choices * most
	if most < 1 { // a meter that gives less than the least
		c.settle(ctx)
		return refusal{status: http.StatusPaymentRequired, code: "budget_exhausted", message: "the budget of the run has no room for this call"}
	}
	if c.body, err = c.request.encode(c.model, c.session.Org, most); err != nil {
		c.settle(ctx)
	}
	return err
}

// settle tells the meter once what the call cost, also if the agent has gone.
func (c *call) settle(ctx context.Context) {
	c.settled.Do(func() {
		used, partial := c.tally.usage(c.bound)
		u := Usage{
			Attempt: c.session.Attempt, Model: c.model.Name, InputTokens: used.input, OutputTokens: used.output,
			Cost: c.model.cost(used.input, used.output), Partial: partial,
		}
		log := c.e.Log.With("run_id", c.session.Run, "attempt", c.session.Attempt, "model", c.model.Name, "key", c.key)
		if u.Cost.Micros > c.reserved.Micros {
			log.WarnContext(ctx, "model call cost more than was reserved", "cost", u.Cost, "reserved", c.reserved)
			u.Cost = c.reserved
		}
		var err error
		for try := range settleTries {
			if try > 0 {
				<-time.After(settlePause)
			}
			if err = c.settleOnce(ctx, u); err == nil {
				return
			}
		}
		log.ErrorContext(ctx, "model call not settled, left until its reservation expires", "cost", u.Cost, "error", err)
	})
}

func (c *call) settleOnce(ctx context.Context, u Usage) error {
	telling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return c.e.Meter.Settle(telling, c.session.Run, c.key, u)
}

// lifetime is the context of a call. A stream ends when the agent goes; what is not
// streamed is read to its end, which says what it cost.
func (c *call) lifetime(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	if !c.request.stream {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.e.CallTimeout, func() { end(errCallTimeout) })
	if c.session.Ended != nil {
		go func() {
			select {
			case <-c.session.Ended:
				end(errSessionEnded)
			case <-ctx.Done():
			}
		}()
	}
	context.AfterFunc(ctx, func() { timer.Stop() })
	return ctx, end
}
