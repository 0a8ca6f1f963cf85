package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const smokeNamespace = "kube-system"

// awaitNode waits until the node is Ready, takes pods, and the namespaces have
// the service account that pods run as.
func awaitNode(ctx context.Context, client kubernetes.Interface, name string) error {
	return poll(ctx, "wait for node "+name, func() (bool, string, error) {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error(), nil //nolint:nilerr // why it is tried again
		}
		if len(node.Spec.Taints) > 0 {
			return false, "taint " + node.Spec.Taints[0].Key, nil
		}
		if ready, why := nodeReady(node); !ready {
			return false, why, nil
		}
		for _, namespace := range []string{metav1.NamespaceDefault, smokeNamespace} {
			if _, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{}); err != nil {
				return false, err.Error(), nil //nolint:nilerr // why it is tried again
			}
		}
		return true, "", nil
	})
}

func nodeReady(node *corev1.Node) (bool, string) {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue, condition.Message
		}
	}
	return false, "no Ready condition yet"
}

// runSmokePod runs the pause image once to its end: scheduler, kubelet,
// containerd, runc and the network all took part when it succeeded.
func runSmokePod(ctx context.Context, client kubernetes.Interface) (time.Duration, error) {
	pods := client.CoreV1().Pods(smokeNamespace)
	began := time.Now()
	pod, err := pods.Create(ctx, smokePod(), metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("create smoke pod: %w", err)
	}
	err = poll(ctx, "wait for smoke pod", func() (bool, string, error) {
		seen, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error(), nil //nolint:nilerr // why it is tried again
		}
		if seen.Status.Phase == corev1.PodFailed {
			return false, "", fmt.Errorf("it failed: %s %s", seen.Status.Reason, seen.Status.Message)
		}
		return seen.Status.Phase == corev1.PodSucceeded, podTrouble(seen), nil
	})
	took := time.Since(began)
	// Old smoke pods of interrupted commands go, too.
	deleteErr := pods.DeleteCollection(context.WithoutCancel(ctx), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=devcluster-smoke"})
	if err == nil && deleteErr != nil {
		err = fmt.Errorf("delete smoke pod: %w", deleteErr)
	}
	return took, err
}

// podTrouble is why a pod is not where it should be, in the kubelet's words.
func podTrouble(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Waiting != nil {
			return c.State.Waiting.Reason + " " + c.State.Waiting.Message
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Status == corev1.ConditionFalse && condition.Message != "" {
			return condition.Message
		}
	}
	return string(pod.Status.Phase)
}

func smokePod() *corev1.Pod {
	no, yes := false, true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "devcluster-smoke-",
			Namespace:    smokeNamespace,
			Labels:       map[string]string{"app": "devcluster-smoke"},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			DNSPolicy:                    corev1.DNSDefault,
			AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   &yes,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name:  "smoke",
				Image: pauseImage,
				Args:  []string{"exit"},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no,
					ReadOnlyRootFilesystem:   &yes,
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

// poll repeats a check until it is true or fails for good. What keeps it from
// being true is in the error when the time is over.
func poll(ctx context.Context, what string, check func() (ok bool, why string, err error)) error {
	last := ""
	for {
		ok, why, err := check()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if ok {
			return nil
		}
		if ctx.Err() == nil {
			last = why
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %s", what, ctx.Err(), last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
