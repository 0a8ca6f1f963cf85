package kube

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// podSecurityVersion pins the Pod Security Standard that the namespace enforces,
// so that an upgrade of the cluster does not change what is checked.
const podSecurityVersion = "v1.35"

func namespaceLabels() map[string]string {
	labels := map[string]string{labelManagedBy: managedBy}
	for _, mode := range []string{"enforce", "audit", "warn"} {
		labels["pod-security.kubernetes.io/"+mode] = "restricted"
		labels["pod-security.kubernetes.io/"+mode+"-version"] = podSecurityVersion
	}
	return labels
}

// EnsureNamespace makes the namespace of runs, or mends its labels, and its
// default-deny network policy, before the first pod runs in it. It is
// idempotent. Where the platform has no right to do so, an operator applies
// deploy/kubernetes/runs-namespace.yaml, which says the same.
func EnsureNamespace(ctx context.Context, client kubernetes.Interface, cfg Config) error {
	namespaces := client.CoreV1().Namespaces()
	have, err := namespaces.Get(ctx, cfg.Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = namespaces.Create(ctx, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: cfg.Namespace, Labels: namespaceLabels()},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return interpret(err, "create namespace "+cfg.Namespace)
		}
	case err != nil:
		return interpret(err, "read namespace "+cfg.Namespace)
	default:
		labels := maps.Clone(have.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, namespaceLabels())
		if !maps.Equal(labels, have.Labels) {
			have.Labels = labels
			if _, err := namespaces.Update(ctx, have, metav1.UpdateOptions{}); err != nil {
				return interpret(err, "label namespace "+cfg.Namespace)
			}
		}
	}
	deny := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "default-deny", Namespace: cfg.Namespace,
			Labels: map[string]string{labelManagedBy: managedBy}},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		},
	}
	policies := client.NetworkingV1().NetworkPolicies(cfg.Namespace)
	_, err = policies.Create(ctx, deny, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return interpret(err, "create network policy of "+cfg.Namespace)
	}
	kept, err := policies.Get(ctx, deny.Name, metav1.GetOptions{})
	if err != nil {
		return interpret(err, "read network policy of "+cfg.Namespace)
	}
	if equality.Semantic.DeepEqual(kept.Spec, deny.Spec) {
		return nil
	}
	kept.Spec = deny.Spec
	_, err = policies.Update(ctx, kept, metav1.UpdateOptions{})
	return interpret(err, "mend network policy of "+cfg.Namespace)
}
