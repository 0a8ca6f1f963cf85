package kube

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"agentmarket/infra"
)

// feed is the informer of the platform's pods in one namespace, or in all of them.
// It keeps of a pod what observePod reads, and finds it by its attempt.
type feed struct {
	factory  informers.SharedInformerFactory
	informer cache.SharedIndexInformer
	log      *slog.Logger
	now      func() time.Time
	// broken is the first watch error since the watch last made progress; nil
	// while it is fine.
	broken atomic.Pointer[breakage]
}

// breakage is an interruption of the watch.
type breakage struct {
	since time.Time
	// at is how far the watch had come. It is mended when it has come further,
	// be it by an event, a bookmark or a new list.
	at string
}

const (
	// unhealthyAfter is how long the watch may be broken before waiting
	// activities are told to poll.
	unhealthyAfter = 10 * time.Second
	// indexAttempt finds pods by the name of their attempt.
	indexAttempt = "attempt"
)

func newFeed(client kubernetes.Interface, namespace string, log *slog.Logger, now func() time.Time) (*feed, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithNamespace(namespace),
		informers.WithTransform(trim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = labelManagedBy + "=" + managedBy
		}))
	f := &feed{factory: factory, informer: factory.Core().V1().Pods().Informer(), log: log, now: now}
	if err := f.informer.AddIndexers(cache.Indexers{indexAttempt: attemptOf}); err != nil {
		return nil, fmt.Errorf("index pods by attempt: %w", err)
	}
	if err := f.informer.SetWatchErrorHandler(f.watchFailed); err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	return f, nil
}

// attemptOf is the index function of indexAttempt.
func attemptOf(obj any) ([]string, error) {
	pod, ok := obj.(metav1.Object)
	if !ok {
		return nil, nil
	}
	ref, ours := refOf(pod.GetLabels())
	if !ours {
		return nil, nil
	}
	return []string{ref.Name()}, nil
}

// healthy reports whether ends of pods are seen as they happen.
func (f *feed) healthy() bool {
	if !f.informer.HasSynced() {
		return false
	}
	b := f.broken.Load()
	if b != nil && b.at != f.informer.LastSyncResourceVersion() {
		f.broken.CompareAndSwap(b, nil)
		return true
	}
	return b == nil || f.now().Sub(b.since) < unhealthyAfter
}

func (f *feed) watchFailed(_ *cache.Reflector, err error) {
	if f.broken.CompareAndSwap(nil, &breakage{since: f.now(), at: f.informer.LastSyncResourceVersion()}) {
		f.log.Warn("watch interrupted", "error", err)
	}
}

// look returns what was last seen of an attempt; false: nothing.
func (f *feed) look(ref infra.Ref) (infra.Observed, bool) {
	found, err := f.informer.GetIndexer().ByIndex(indexAttempt, ref.Name())
	if err != nil {
		return infra.Observed{}, false
	}
	pods := make([]corev1.Pod, 0, len(found))
	for _, obj := range found {
		if pod, ok := obj.(*corev1.Pod); ok {
			pods = append(pods, *pod)
		}
	}
	if len(pods) == 0 {
		return infra.Observed{}, false
	}
	return observedOf(newest(pods)), true
}
