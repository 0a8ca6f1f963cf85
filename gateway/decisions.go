package gateway

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"agentmarket/ids"
	"agentmarket/product"
)

// decideEvery is how soon a decision is noticed.
const decideEvery = time.Second

// errStopping ends the wait for a person where the process ends. What was asked stays, and
// whoever asks again finds it.
var errStopping = errors.New("the gateway stops")

// decisions says what people decided about calls of tools, whichever process they told.
// All that is waited for is asked for at once.
type decisions struct {
	find func(context.Context, []ids.ToolApproval) (map[ids.ToolApproval]product.Decision, error)
	log  *slog.Logger

	mu      sync.Mutex
	waiting map[ids.ToolApproval][]chan product.Decision
	stopped chan struct{}
	stop    func()
}

func newDecisions(find func(context.Context, []ids.ToolApproval) (map[ids.ToolApproval]product.Decision, error), log *slog.Logger) *decisions {
	d := &decisions{find: find, log: log, waiting: map[ids.ToolApproval][]chan product.Decision{}, stopped: make(chan struct{})}
	d.stop = sync.OnceFunc(func() { close(d.stopped) })
	return d
}

// wait returns what somebody decides, or why nobody did.
func (d *decisions) wait(ctx context.Context, id ids.ToolApproval) (product.Decision, error) {
	decided := make(chan product.Decision, 1)
	d.mu.Lock()
	d.waiting[id] = append(d.waiting[id], decided)
	d.mu.Unlock()
	defer d.forget(id, decided)
	select {
	case decision := <-decided:
		return decision, nil
	case <-ctx.Done():
		return "", ctx.Err()
	case <-d.stopped:
		return "", errStopping
	}
}

func (d *decisions) forget(id ids.ToolApproval, who chan product.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := slices.DeleteFunc(d.waiting[id], func(c chan product.Decision) bool { return c == who })
	if len(left) > 0 {
		d.waiting[id] = left
		return
	}
	delete(d.waiting, id)
}

// run looks until the context ends.
func (d *decisions) run(ctx context.Context) {
	tick := time.NewTicker(decideEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := d.look(ctx); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "decisions about calls of tools not known", "error", err)
		}
	}
}

// look tells those who wait what was decided.
func (d *decisions) look(ctx context.Context) error {
	d.mu.Lock()
	list := make([]ids.ToolApproval, 0, len(d.waiting))
	for id := range d.waiting {
		list = append(list, id)
	}
	d.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	found, err := d.find(ctx, list)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, decision := range found {
		for _, who := range d.waiting[id] {
			who <- decision // there is room for one
		}
		delete(d.waiting, id)
	}
	return nil
}
