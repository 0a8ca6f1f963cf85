package kube

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"agentmarket/fault"
	"agentmarket/infra"
)

// Adopted waits until a run has adopted the warm pod that a token belongs to, and returns
// the attempt. A pod that is gone, or was never warm and is nobody's, is
// fault.Unauthenticated.
func (i *Identities) Adopted(ctx context.Context, token string) (infra.Ref, error) {
	for {
		pod, err := i.podOf(ctx, token)
		if err != nil {
			return infra.Ref{}, err
		}
		changed, done, err := i.waiting.wait(pod.UID)
		if err != nil {
			return infra.Ref{}, err
		}
		// Once more: it may have changed before this call was among those that wait.
		if seen := i.seen(pod.Namespace, pod.Name); seen != nil {
			pod = seen
		}
		if pod.Labels[labelWarm] == "" {
			done()
			return i.attemptOf(pod)
		}
		select {
		case <-changed:
			done()
		case <-ctx.Done():
			done()
			return infra.Ref{}, fault.Wrap(fault.Unavailable, ctx.Err(), "wait for the run of pod "+pod.Name)
		}
	}
}

// askFor reads a pod from the cluster, past the watch.
func (i *Identities) askFor(ctx context.Context, pod *metav1.PartialObjectMetadata) (*metav1.PartialObjectMetadata, error) {
	i.asking.Lock()
	defer i.asking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	live, err := i.pods.Resource(podResource).Namespace(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && live.UID != pod.UID {
		return nil, refusedToken("is of a pod that is gone")
	}
	if err != nil {
		return nil, interpret(err, "read pod "+pod.Name)
	}
	return live, nil
}

// What waits at one gateway process.
const (
	maxWaiters   = 4096
	maxWaitersOf = 4 // one pod: a supervisor waits once, and its last call may not be over
)

// waiters are calls that wait until something happens to a pod.
type waiters struct {
	mu    sync.Mutex
	count int
	pods  map[types.UID][]chan struct{}
}

func newWaiters() *waiters { return &waiters{pods: map[types.UID][]chan struct{}{}} }

// wait returns a channel that is closed when the pod changes. done must be called.
func (w *waiters) wait(pod types.UID) (changed <-chan struct{}, done func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count >= maxWaiters || len(w.pods[pod]) >= maxWaitersOf {
		return nil, nil, fault.New(fault.RateLimited, "too_many_calls", "too many wait for a run")
	}
	w.count++
	ch := make(chan struct{})
	w.pods[pod] = append(w.pods[pod], ch)
	return ch, func() { w.leave(pod, ch) }, nil
}

func (w *waiters) leave(pod types.UID, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count--
	var others []chan struct{}
	for _, other := range w.pods[pod] {
		if other != ch {
			others = append(others, other)
		}
	}
	if w.pods[pod] = others; others == nil {
		delete(w.pods, pod)
	}
}

// wake lets all go on that wait for a pod.
func (w *waiters) wake(obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	pod, ok := obj.(metav1.Object)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.pods[pod.GetUID()] {
		close(ch)
	}
	delete(w.pods, pod.GetUID()) // nobody is woken twice
}

func (w *waiters) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: w.wake, UpdateFunc: func(_, pod any) { w.wake(pod) }, DeleteFunc: w.wake,
	}
}
