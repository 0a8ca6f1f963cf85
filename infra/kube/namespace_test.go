package kube

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"

	"agentmarket/fault"
)

func TestNamespaceIsMendedAndKeepsWhatAnOperatorAdded(t *testing.T) {
	client, cfg := fake.NewClientset(), Config{NamespaceShards: 2}.WithDefaults()
	require.NoError(t, EnsureNamespace(t.Context(), client, cfg))

	const name = "agentmarket-runs-1"
	namespace, err := client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	namespace.Labels = map[string]string{"team": "a", "pod-security.kubernetes.io/enforce": "privileged"}
	_, err = client.CoreV1().Namespaces().Update(t.Context(), namespace, metav1.UpdateOptions{})
	require.NoError(t, err)
	deny, err := client.NetworkingV1().NetworkPolicies(name).Get(t.Context(), "default-deny", metav1.GetOptions{})
	require.NoError(t, err)
	deny.Spec.PolicyTypes = nil
	_, err = client.NetworkingV1().NetworkPolicies(name).Update(t.Context(), deny, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.NoError(t, client.CoreV1().LimitRanges(name).Delete(t.Context(), "runs", metav1.DeleteOptions{}))
	quota, err := client.CoreV1().ResourceQuotas(name).Get(t.Context(), "runs", metav1.GetOptions{})
	require.NoError(t, err)
	quota.Spec.Hard = corev1.ResourceList{}
	_, err = client.CoreV1().ResourceQuotas(name).Update(t.Context(), quota, metav1.UpdateOptions{})
	require.NoError(t, err)

	require.NoError(t, EnsureNamespace(t.Context(), client, cfg))
	namespace, err = client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "a", namespace.Labels["team"])
	require.Equal(t, "restricted", namespace.Labels["pod-security.kubernetes.io/enforce"])
	deny, err = client.NetworkingV1().NetworkPolicies(name).Get(t.Context(), "default-deny", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, denySpec(), deny.Spec)
	_, err = client.CoreV1().LimitRanges(name).Get(t.Context(), "runs", metav1.GetOptions{})
	require.NoError(t, err)
	quota, err = client.CoreV1().ResourceQuotas(name).Get(t.Context(), "runs", metav1.GetOptions{})
	require.NoError(t, err)
	require.Empty(t, quota.Spec.Hard, "the numbers of a quota are the operator's")
}

func TestRefusalOfAQuotaHasItsCode(t *testing.T) {
	for text, code := range map[string]string{"exceeded quota: runs": "quota_exceeded", "no such role": "unavailable"} {
		err := interpret(apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "p", errors.New(text)), "create")
		require.True(t, fault.Is(err, fault.Unavailable))
		require.Equal(t, code, fault.From(err).Code)
	}
}

func TestNamespacesAreValidated(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		valid  bool
	}{
		"default":             {func(*Config) {}, true},
		"organization, 64":    {func(c *Config) { c.NamespacePer, c.NamespaceShards = PerOrganization, 64 }, true},
		"unknown":             {func(c *Config) { c.NamespacePer = "team" }, false},
		"too many shards":     {func(c *Config) { c.NamespaceShards = 65 }, false},
		"too long with shard": {func(c *Config) { c.Namespace, c.NamespacePer = "a-namespace-of-many-letters", PerOrganization }, false},
		"no name":             {func(c *Config) { c.Namespace = "Runs" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{RuntimeImage: "r@sha256:1"}.WithDefaults()
			tc.change(&cfg)
			require.Equal(t, tc.valid, cfg.Validate() == nil)
		})
	}
}

// TestGatewayPolicyComesAndGoes: with the gateway.
func TestGatewayPolicyComesAndGoes(t *testing.T) {
	client := fake.NewClientset()
	with, without := config(), config()
	with.GatewayURL = "http://10.96.0.42:3100"
	require.NoError(t, EnsureNamespace(t.Context(), client, without))
	policies := client.NetworkingV1().NetworkPolicies(with.Namespace)
	_, err := policies.Get(t.Context(), policyGateway, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err))

	require.NoError(t, EnsureNamespace(t.Context(), client, with))
	open, err := policies.Get(t.Context(), policyGateway, metav1.GetOptions{})
	require.NoError(t, err)
	require.Len(t, open.Spec.Egress, 1)
	require.Equal(t, "10.96.0.42/32", open.Spec.Egress[0].To[0].IPBlock.CIDR)
	require.EqualValues(t, 3100, open.Spec.Egress[0].Ports[0].Port.IntVal)
	require.Empty(t, open.Spec.Ingress)

	require.NoError(t, EnsureNamespace(t.Context(), client, without))
	_, err = policies.Get(t.Context(), policyGateway, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err))

	for _, url := range []string{"http://gateway:3100", "http://10.96.0.42", "10.96.0.42:3100", "http://10.96.0.42:3100/", "http://10.96.0.42:0", "ftp://10.96.0.42:3100"} {
		with.GatewayURL = url
		require.Error(t, with.Validate(), url)
	}
}
