package kube

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// podSecurityVersion pins the Pod Security Standard that the namespace enforces,
// so that an upgrade of the cluster does not change what is checked.
const podSecurityVersion = "v1.35"

func namespaceLabels() map[string]string {
	labels := map[string]string{labelManagedBy: managedBy, labelRuns: "true"}
	for _, mode := range []string{"enforce", "audit", "warn"} {
		labels["pod-security.kubernetes.io/"+mode] = "restricted"
		labels["pod-security.kubernetes.io/"+mode+"-version"] = podSecurityVersion
	}
	return labels
}

// EnsureNamespace makes the namespaces of runs that are known beforehand, and mends
// them and those that were made later, before the first pod runs there: the admission policy of all of them, and of
// each labels, default-deny network policy, quota and limits. It is idempotent, and leaves what an operator added. Where the platform
// has no right to do so, an operator applies deploy/kubernetes/runs-namespace.yaml,
// which says the same.
func EnsureNamespace(ctx context.Context, client kubernetes.Interface, cfg Config) error {
	if err := EnsureAdmission(ctx, client); err != nil {
		return err
	}
	names := cfg.Watched()
	if cfg.NamespacePer == PerOrganization {
		list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: labelRuns + "=true"})
		if err != nil {
			return interpret(err, "list namespaces of runs")
		}
		names = nil
		for _, namespace := range list.Items {
			if cfg.ours(namespace.Name) {
				names = append(names, namespace.Name)
			}
		}
	}
	for _, name := range names {
		if err := ensureNamespace(ctx, client, cfg, name); err != nil {
			return err
		}
	}
	return nil
}

func ensureNamespace(ctx context.Context, client kubernetes.Interface, cfg Config, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: namespaceLabels()}}
	err := ensure(ctx, client.CoreV1().Namespaces(), "namespace "+name, namespace, func(*corev1.Namespace) bool { return false })
	if err != nil {
		return err
	}
	deny := &networkingv1.NetworkPolicy{ObjectMeta: metaIn(name, "default-deny"), Spec: denySpec()}
	err = ensure(ctx, client.NetworkingV1().NetworkPolicies(name), "network policy of "+name, deny,
		func(have *networkingv1.NetworkPolicy) bool { return replace(&have.Spec, deny.Spec) })
	if err != nil {
		return err
	}
	if err := ensureGatewayPolicy(ctx, client, cfg, name); err != nil {
		return err
	}
	quota := &corev1.ResourceQuota{ObjectMeta: metaIn(name, "runs"), Spec: quotaSpec()}
	err = ensure(ctx, client.CoreV1().ResourceQuotas(name), "quota of "+name, quota,
		func(*corev1.ResourceQuota) bool { return false }) // its numbers are the operator's
	if err != nil {
		return err
	}
	limits := &corev1.LimitRange{ObjectMeta: metaIn(name, "runs"), Spec: limitSpec()}
	return ensure(ctx, client.CoreV1().LimitRanges(name), "limits of "+name, limits,
		func(have *corev1.LimitRange) bool { return replace(&have.Spec, limits.Spec) })
}

// objectAPI is what ensure calls of a typed client.
type objectAPI[T any] interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
	Create(ctx context.Context, object T, opts metav1.CreateOptions) (T, error)
	Update(ctx context.Context, object T, opts metav1.UpdateOptions) (T, error)
}

// ensure makes the object, or gives the one that is there the labels and, by mend,
// the content that are wanted. mend reports whether it changed something.
func ensure[T metav1.Object](ctx context.Context, api objectAPI[T], what string, want T, mend func(have T) bool) error {
	have, err := api.Get(ctx, want.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = api.Create(ctx, want, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return interpret(err, "create "+what)
		}
		have, err = api.Get(ctx, want.GetName(), metav1.GetOptions{}) // another worker was faster
	}
	if err != nil {
		return interpret(err, "read "+what)
	}
	labels := map[string]string{}
	maps.Copy(labels, have.GetLabels())
	maps.Copy(labels, want.GetLabels())
	relabel := !maps.Equal(labels, have.GetLabels())
	if !mend(have) && !relabel {
		return nil
	}
	have.SetLabels(labels)
	_, err = api.Update(ctx, have, metav1.UpdateOptions{})
	return interpret(err, "mend "+what)
}

func replace[T any](have *T, want T) bool {
	if equality.Semantic.DeepEqual(*have, want) {
		return false
	}
	*have = want
	return true
}

func metaIn(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{labelManagedBy: managedBy}}
}

func denySpec() networkingv1.NetworkPolicySpec {
	return networkingv1.NetworkPolicySpec{
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
	}
}

func quotaSpec() corev1.ResourceQuotaSpec {
	return corev1.ResourceQuotaSpec{Hard: quantities(map[corev1.ResourceName]string{
		"pods":         "500",
		"requests.cpu": "200", "requests.memory": "400Gi", "requests.ephemeral-storage": "1000Gi",
		"limits.cpu": "200", "limits.memory": "400Gi", "limits.ephemeral-storage": "1000Gi",
		"services": "0", "persistentvolumeclaims": "0",
	})}
}

func limitSpec() corev1.LimitRangeSpec {
	least := map[corev1.ResourceName]string{"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "128Mi"}
	return corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
		Type:    corev1.LimitTypeContainer,
		Max:     quantities(map[corev1.ResourceName]string{"cpu": "8", "memory": "16Gi", "ephemeral-storage": "20544Mi"}),
		Default: quantities(least), DefaultRequest: quantities(least),
	}}}
}

func quantities(texts map[corev1.ResourceName]string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for name, text := range texts {
		list[name] = resource.MustParse(text)
	}
	return list
}
