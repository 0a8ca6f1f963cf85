package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"agentmarket/fault"
	"agentmarket/infra"
)

// Cluster is a simulated cluster of another process.
type Cluster struct {
	URL     string
	healthy atomic.Bool
}

var (
	_ infra.Cluster = (*Cluster)(nil)
	_ infra.Watch   = (*Cluster)(nil)
)

// Create implements infra.Cluster.
func (c *Cluster) Create(ctx context.Context, s infra.Sandbox) error {
	s.Input = nil // nobody reads it
	return c.call(ctx, "/create", s, nil)
}

// Observe implements infra.Cluster.
func (c *Cluster) Observe(ctx context.Context, ref infra.Ref) (infra.Observed, error) {
	var seen infra.Observed
	err := c.call(ctx, "/observe", ref, &seen)
	return seen, err
}

// Delete implements infra.Cluster.
func (c *Cluster) Delete(ctx context.Context, ref infra.Ref, _ time.Duration) error {
	return c.call(ctx, "/delete", ref, nil)
}

// Clear implements infra.Cluster.
func (c *Cluster) Clear(ctx context.Context, ref infra.Ref) error { return c.Delete(ctx, ref, 0) }

// Logs implements infra.Cluster: there are none.
func (c *Cluster) Logs(context.Context, infra.Ref, infra.LogOptions) (io.ReadCloser, error) {
	return nil, fault.New(fault.NotFound, "", "a simulated attempt has no log")
}

func (c *Cluster) call(ctx context.Context, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode request")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+path, bytes.NewReader(text))
	if err != nil {
		return fault.Wrap(fault.Internal, err, "make request")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "reach the simulated cluster")
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fault.Newf(fault.Internal, "", "the simulated cluster answers %s", response.Status)
	}
	if into == nil {
		_, err = io.Copy(io.Discard, response.Body)
	} else {
		err = json.NewDecoder(response.Body).Decode(into)
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "read from the simulated cluster")
	}
	return nil
}

// Expect implements infra.Watch: a simulated attempt has its pod at once.
func (*Cluster) Expect(infra.Ref, time.Time) {}

// Sink is told of changes, see kube.Sink. Every report may come more than once.
type Sink interface {
	Started(ctx context.Context, ref infra.Ref, at time.Time) error
	Ended(ctx context.Context, ref infra.Ref, outcome infra.Outcome) error
	Gone(ctx context.Context, ref infra.Ref, last infra.Pod, at time.Time) error
}

// Healthy reports whether the watch is open.
func (c *Cluster) Healthy() bool { return c.healthy.Load() }

// Look implements infra.Watch. It asks the other process: what that knows, it has
// told.
func (c *Cluster) Look(ref infra.Ref) (infra.Observed, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	seen, err := c.Observe(ctx, ref)
	return seen, err == nil && seen.Pod != nil
}

// watchWorkers is how many changes are reported at once.
const watchWorkers = 16

// Watch reports changes until the context ends. A watch that breaks, and a change
// that could not be reported, begin it anew with everything that there is.
func (c *Cluster) Watch(ctx context.Context, sink Sink, log *slog.Logger) {
	for ctx.Err() == nil {
		if err := c.watchOnce(ctx, sink); err != nil && ctx.Err() == nil {
			log.Warn("simulated watch interrupted", "error", err)
		}
		c.healthy.Store(false)
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (c *Cluster) watchOnce(ctx context.Context, sink Sink) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/watch", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	c.healthy.Store(true)

	// Changes of one attempt are reported in their order.
	var group sync.WaitGroup
	queues := make([]chan Change, watchWorkers)
	for i := range queues {
		queues[i] = make(chan Change, 1000)
		group.Go(func() {
			for change := range queues[i] {
				if err := report(ctx, sink, change); err != nil {
					stop(err)
				}
			}
		})
	}
	lines := json.NewDecoder(response.Body)
	for ctx.Err() == nil {
		var change Change
		if err = lines.Decode(&change); err != nil {
			break
		}
		name := change.Ref.Name()
		queues[int(name[len(name)-4])%watchWorkers] <- change
	}
	for _, queue := range queues {
		close(queue)
	}
	group.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func report(ctx context.Context, sink Sink, c Change) error {
	if c.Gone {
		return sink.Gone(ctx, c.Ref, c.Pod, c.At)
	}
	if c.Pod.Running != nil {
		return sink.Started(ctx, c.Ref, c.Pod.Running.StartedAt)
	}
	verdict := infra.Classify(c.Ref, infra.Observed{JobExists: true, Pod: &c.Pod}, time.Now())
	if !verdict.Ended {
		return nil
	}
	return sink.Ended(ctx, c.Ref, verdict.Outcome)
}
