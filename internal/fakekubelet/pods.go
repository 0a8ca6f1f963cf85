package fakekubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// trim keeps of a pod what is read here: there may be thousands.
func trim(obj any) (any, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	p.ManagedFields, p.Annotations, p.OwnerReferences = nil, nil, nil
	kept := corev1.PodSpec{NodeName: p.Spec.NodeName}
	for _, c := range p.Spec.Containers {
		kept.Containers = append(kept.Containers, corev1.Container{Name: c.Name, Image: c.Image})
	}
	p.Spec = kept
	p.Status = corev1.PodStatus{Phase: p.Status.Phase, StartTime: p.Status.StartTime}
	return p, nil
}

func (n *Nodes) changed(obj any) {
	if pod, ok := obj.(*corev1.Pod); ok && Simulated(pod) {
		n.queue.Add(cache.MetaObjectToName(pod).String())
	}
}

// Look asks again whether the process of a pod has ended.
func (n *Nodes) Look(pod *corev1.Pod) { n.queue.Add(cache.MetaObjectToName(pod).String()) }

// Pods are the pods of a namespace on the nodes, as far as they are seen.
func (n *Nodes) Pods(namespace string) []*corev1.Pod {
	var found []*corev1.Pod
	for _, obj := range n.pods.GetStore().List() {
		if pod, ok := obj.(*corev1.Pod); ok && pod.Namespace == namespace {
			found = append(found, pod)
		}
	}
	return found
}

func (n *Nodes) next(ctx context.Context) bool {
	key, down := n.queue.Get()
	if down {
		return false
	}
	defer n.queue.Done(key)
	obj, exists, err := n.pods.GetStore().GetByKey(key)
	pod, ok := obj.(*corev1.Pod)
	if err != nil || !exists || !ok {
		n.queue.Forget(key)
		return true
	}
	if err := n.step(ctx, pod); err != nil && !apierrors.IsNotFound(err) {
		n.Faults.Add(1)
		n.queue.AddRateLimited(key)
		return true
	}
	n.queue.Forget(key)
	return true
}

// step takes a pod one step further. The next one follows when it is seen.
func (n *Nodes) step(ctx context.Context, pod *corev1.Pod) error {
	now := metav1.Now()
	switch {
	case pod.DeletionTimestamp != nil:
		n.Deletes.Add(1)
		return n.kube.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: new(int64(0)), Preconditions: &metav1.Preconditions{UID: &pod.UID},
		})
	case pod.Status.Phase == corev1.PodPending:
		return n.write(ctx, pod, corev1.PodStatus{
			Phase: corev1.PodRunning, StartTime: &now,
		}, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}})
	case pod.Status.Phase == corev1.PodRunning && n.cfg.Ended(pod):
		message, err := n.cfg.Message(pod)
		if err != nil {
			return err
		}
		n.cfg.Ending(pod)
		return n.write(ctx, pod, corev1.PodStatus{Phase: corev1.PodSucceeded}, corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", Message: message, StartedAt: *pod.Status.StartTime, FinishedAt: now},
		})
	}
	return nil
}

// write patches the status, as a kubelet does.
func (n *Nodes) write(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus, state corev1.ContainerState) error {
	ready := corev1.ConditionFalse
	if state.Running != nil {
		ready = corev1.ConditionTrue
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: ready, LastTransitionTime: metav1.NewTime(time.Now())})
	}
	c := pod.Spec.Containers[0]
	status.ContainerStatuses = []corev1.ContainerStatus{{Name: c.Name, Image: c.Image, ImageID: c.Image, State: state, Ready: state.Running != nil}}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return fmt.Errorf("write status of %s: %w", pod.Name, err)
	}
	n.Patches.Add(1)
	_, err = n.kube.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
