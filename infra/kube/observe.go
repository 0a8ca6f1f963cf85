package kube

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"agentmarket/infra"
)

// observePod reads what Classify needs of a pod. It is pure.
func observePod(p *corev1.Pod) *infra.Pod {
	pod := &infra.Pod{
		Name: p.Name, Node: p.Spec.NodeName, CreatedAt: p.CreationTimestamp.Time, Deleting: p.DeletionTimestamp != nil,
		Phase: string(p.Status.Phase), Reason: p.Status.Reason, Message: p.Status.Message,
	}
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue:
			pod.Disruption = c.Reason
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue:
			pod.ScheduledAt = c.LastTransitionTime.Time
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable:
			pod.Unschedulable = c.Message
		}
	}
	// An init container that waits or failed holds the agent's container back:
	// its state is the pod's.
	for _, c := range p.Status.InitContainerStatuses {
		if w := c.State.Waiting; w != nil {
			pod.Waiting = &infra.Waiting{Reason: w.Reason, Message: w.Message}
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.Name != containerAgent {
			continue
		}
		switch {
		case c.State.Terminated != nil:
			t := c.State.Terminated
			pod.Waiting = nil
			pod.Terminated = &infra.Terminated{
				Reason: t.Reason, Message: t.Message, ExitCode: int(t.ExitCode),
				StartedAt: t.StartedAt.Time, FinishedAt: t.FinishedAt.Time,
			}
		case c.State.Running != nil:
			pod.Waiting = nil
			pod.Running = &infra.Running{StartedAt: c.State.Running.StartedAt.Time}
		case c.State.Waiting != nil && pod.Waiting == nil:
			pod.Waiting = &infra.Waiting{Reason: c.State.Waiting.Reason, Message: c.State.Waiting.Message}
		}
	}
	return pod
}

// jobFailure reads the Job's Failed condition as "reason: message".
func jobFailure(job *batchv1.Job) string {
	for _, c := range job.Status.Conditions {
		failing := c.Type == batchv1.JobFailed || c.Type == batchv1.JobFailureTarget
		if failing && c.Status == corev1.ConditionTrue {
			return c.Reason + ": " + c.Message
		}
	}
	return ""
}

// trim drops what is never read from the informer's copy of a pod: at 10,000
// pods the rest would be most of the worker's memory.
func trim(obj any) (any, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	p.ManagedFields = nil
	p.Annotations = nil
	p.OwnerReferences = nil
	p.Spec = corev1.PodSpec{NodeName: p.Spec.NodeName}
	p.Status.EphemeralContainerStatuses = nil
	p.Status.HostIPs, p.Status.PodIPs = nil, nil
	return p, nil
}
