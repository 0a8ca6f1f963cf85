package kube

import (
	"context"
	"time"

	"agentmarket/infra"
)

// Observer reads the state of an attempt past every cache, see infra.Cluster.
type Observer interface {
	Observe(ctx context.Context, ref infra.Ref) (infra.Observed, error)
}

// Expect implements infra.Watch. It uses the queue of the pods, whose keys have a
// namespace; those of expected attempts have none.
func (w *Watcher) Expect(ref infra.Ref, by time.Time) {
	w.mu.Lock()
	w.expected[ref.Name()] = ref
	w.mu.Unlock()
	w.queue.AddAfter(ref.Name(), by.Sub(w.now()))
}

// syncExpected looks at an attempt that should have its pod, and returns when to look
// again. One that has got it is the business of sync from then on.
func (w *Watcher) syncExpected(ctx context.Context, key string) (time.Duration, error) {
	w.mu.Lock()
	ref, known := w.expected[key]
	w.mu.Unlock()
	if !known {
		return 0, nil
	}
	if _, ok := w.Look(ref); !ok {
		seen, err := w.observer.Observe(ctx, ref)
		if err != nil {
			return 0, err
		}
		verdict := infra.Classify(ref, seen, w.now())
		if verdict.LookAgain > 0 {
			return verdict.LookAgain, nil
		}
		if verdict.Ended {
			if err := w.sink.Ended(ctx, ref, verdict.Outcome); err != nil {
				return 0, err
			}
		}
	}
	w.mu.Lock()
	delete(w.expected, key)
	w.mu.Unlock()
	return 0, nil
}
