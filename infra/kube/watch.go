package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"agentmarket/fault"
	"agentmarket/infra"
)

// Sink is told what the watcher sees. Delivery is at least once: after a restart
// everything that is still in the cluster is told again. An error makes the
// watcher tell it again later.
type Sink interface {
	// Started: the agent's container runs since at.
	Started(ctx context.Context, ref infra.Ref, at time.Time) error
	// Running: it has run for a while since at, and is not over. Unlike the others
	// it is left out where an earlier watcher will have told it.
	Running(ctx context.Context, ref infra.Ref, at time.Time) error
	// Ended: the attempt is over.
	Ended(ctx context.Context, ref infra.Ref, outcome infra.Outcome) error
	// Gone: the pod is removed from the cluster. last is its final state.
	Gone(ctx context.Context, ref infra.Ref, last infra.Pod, at time.Time) error
}

// Watcher follows all pods of the platform with one informer.
//
//	event ─► queue (key: pod) ─► sync: read cache, Classify, tell the sink
//	              ▲──────────────────┘ error: again, later and later
//	              ▲──────────────────┘ undecided: again when Classify says
//
// Several watchers may run at once; the sink is idempotent.
type Watcher struct {
	sink Sink
	log  *slog.Logger
	now  func() time.Time

	factory  informers.SharedInformerFactory
	informer cache.SharedIndexInformer
	queue    workqueue.TypedRateLimitingInterface[string]
	// broken is the first watch error since the watch last made progress; nil
	// while it is fine.
	broken atomic.Pointer[breakage]

	mu   sync.Mutex
	told map[string]*told // by queue key
}

// breakage is an interruption of the watch.
type breakage struct {
	since time.Time
	// at is how far the watch had come. It is mended when it has come further,
	// be it by an event, a bookmark or a new list.
	at string
}

// told is what the sink already knows of a pod.
type told struct {
	started, running, ended bool
	deleted                 *corev1.Pod // final state, once the pod is gone
	deletedAt               time.Time
}

const (
	watchWorkers = 8
	// unhealthyAfter is how long the watch may be broken before waiting
	// activities are told to poll.
	unhealthyAfter = 10 * time.Second
	// runningAfter is how long an agent runs until the sink is told that it does:
	// most runs are over before, and it costs each five events of history. After
	// runningBefore an earlier watcher has told it.
	runningAfter  = 5 * time.Second
	runningBefore = time.Minute
)

// NewWatcher returns a watcher of the platform's pods in a namespace.
func NewWatcher(client kubernetes.Interface, namespace string, sink Sink, log *slog.Logger) *Watcher {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithNamespace(namespace),
		informers.WithTransform(trim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = labelManagedBy + "=" + managedBy
		}))
	return &Watcher{
		sink: sink, log: log, now: time.Now,
		factory: factory, informer: factory.Core().V1().Pods().Informer(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, 30*time.Second)),
		told: map[string]*told{},
	}
}

// Run watches until the context ends. It returns an error only when the watch
// could not be set up. It is called once.
func (w *Watcher) Run(ctx context.Context) error {
	if err := w.informer.SetWatchErrorHandler(w.watchFailed); err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	_, err := w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    w.changed,
		UpdateFunc: func(_, pod any) { w.changed(pod) },
		DeleteFunc: w.deleted,
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	w.factory.Start(ctx.Done())

	var workers sync.WaitGroup
	for range watchWorkers {
		workers.Go(func() {
			for w.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	w.queue.ShutDown()
	workers.Wait()
	w.factory.Shutdown()
	return nil
}

// Healthy reports whether ends of pods are seen as they happen. While it is
// false, waiting activities poll.
func (w *Watcher) Healthy() bool {
	if !w.informer.HasSynced() {
		return false
	}
	b := w.broken.Load()
	if b != nil && b.at != w.informer.LastSyncResourceVersion() {
		w.broken.CompareAndSwap(b, nil)
		return true
	}
	return b == nil || w.now().Sub(b.since) < unhealthyAfter
}

func (w *Watcher) watchFailed(_ *cache.Reflector, err error) {
	if w.broken.CompareAndSwap(nil, &breakage{since: w.now(), at: w.informer.LastSyncResourceVersion()}) {
		w.log.Warn("watch interrupted", "error", err)
	}
}

func (w *Watcher) changed(obj any) {
	w.broken.Store(nil) // whatever arrives, arrives over a working watch
	if key, err := cache.MetaNamespaceKeyFunc(obj); err == nil {
		w.queue.Add(key)
	}
}

func (w *Watcher) deleted(obj any) {
	w.broken.Store(nil)
	if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = unknown.Obj // the last state that was seen, maybe not the final one
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	key, err := cache.MetaNamespaceKeyFunc(pod)
	if err != nil {
		return
	}
	w.mu.Lock()
	t := w.known(key)
	t.deleted, t.deletedAt = pod, w.now()
	w.mu.Unlock()
	w.queue.Add(key)
}

// known returns what was told of a pod; the caller holds mu.
func (w *Watcher) known(key string) *told {
	t := w.told[key]
	if t == nil {
		t = &told{}
		w.told[key] = t
	}
	return t
}

func (w *Watcher) next(ctx context.Context) bool {
	key, shutdown := w.queue.Get()
	if shutdown {
		return false
	}
	defer w.queue.Done(key)
	again, err := w.sync(ctx, key)
	switch {
	case err != nil:
		if !errors.Is(err, context.Canceled) {
			w.log.Warn("report pod", "pod", key, "error", err)
		}
		w.queue.AddRateLimited(key)
	case again > 0:
		w.queue.Forget(key)
		w.queue.AddAfter(key, again)
	default:
		w.queue.Forget(key)
	}
	return true
}

// sync tells the sink what it does not know yet about one pod, and returns when
// to look again (0: at the next event). A key is synced by one worker at a time.
func (w *Watcher) sync(ctx context.Context, key string) (time.Duration, error) {
	obj, exists, err := w.informer.GetStore().GetByKey(key)
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "read cache")
	}
	w.mu.Lock()
	if _, seen := w.told[key]; !exists && !seen {
		w.mu.Unlock()
		return 0, nil // a late look at a pod that was told to be gone
	}
	t := w.known(key)
	deleted, deletedAt := t.deleted, t.deletedAt
	w.mu.Unlock()

	pod, _ := obj.(*corev1.Pod)
	if !exists {
		if deleted == nil {
			return 0, nil // its event is on the way
		}
		pod = deleted
	}
	ref, ours := refOf(pod.Labels)
	if !ours {
		return 0, nil
	}
	seen := observePod(pod)
	if !t.started && seen.Running != nil {
		if err := w.sink.Started(ctx, ref, seen.Running.StartedAt); err != nil {
			return 0, err
		}
		t.started = true
	}
	lookAgain, err := w.syncRunning(ctx, ref, t, seen)
	if err != nil {
		return 0, err
	}
	// A pod that is gone is judged without it, unless it had ended before.
	observed := infra.Observed{JobExists: true, Pod: seen}
	if !exists && !seen.Ended() {
		observed.Pod, observed.JobExists = nil, false
	}
	verdict := infra.Classify(ref, observed, w.now())
	if verdict.Ended && !t.ended {
		if err := w.sink.Ended(ctx, ref, verdict.Outcome); err != nil {
			return 0, err
		}
		t.ended = true
	}
	if exists {
		return soonest(verdict.LookAgain, lookAgain), nil
	}
	if err := w.sink.Gone(ctx, ref, *seen, deletedAt); err != nil {
		return 0, err
	}
	w.mu.Lock()
	delete(w.told, key)
	w.mu.Unlock()
	return 0, nil
}

// syncRunning tells the sink that the agent runs, once it has for a while, and
// returns when to look again for that.
func (w *Watcher) syncRunning(ctx context.Context, ref infra.Ref, t *told, seen *infra.Pod) (time.Duration, error) {
	if t.running || seen.Running == nil {
		return 0, nil
	}
	age := w.now().Sub(seen.Running.StartedAt)
	switch {
	case age < runningAfter:
		return runningAfter - age, nil
	case age < runningBefore:
		if err := w.sink.Running(ctx, ref, seen.Running.StartedAt); err != nil {
			return 0, err
		}
	}
	t.running = true
	return 0, nil
}

// soonest is the shorter of two times to look again; 0 is never.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
