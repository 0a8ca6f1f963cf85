package kube

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"agentmarket/fault"
)

const (
	policyGateway = "gateway"
	// labelName and gatewayName are those of the gateway's own pods.
	labelName   = "app.kubernetes.io/name"
	gatewayName = "agentmarket-gateway"
)

// ensureGatewayPolicy opens the one way out of the pods of a namespace, or closes it
// where there is no gateway (any more).
func ensureGatewayPolicy(ctx context.Context, client kubernetes.Interface, cfg Config, namespace string) error {
	api := client.NetworkingV1().NetworkPolicies(namespace)
	if cfg.GatewayURL == "" {
		_, err := api.Get(ctx, policyGateway, metav1.GetOptions{}) // who never had one needs no right to delete it
		if err == nil {
			err = api.Delete(ctx, policyGateway, metav1.DeleteOptions{})
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return interpret(err, "delete the gateway's network policy of "+namespace)
	}
	spec, err := gatewaySpec(cfg)
	if err != nil {
		return err
	}
	open := &networkingv1.NetworkPolicy{ObjectMeta: metaIn(namespace, policyGateway), Spec: spec}
	return ensure(ctx, api, "the gateway's network policy of "+namespace, open,
		func(have *networkingv1.NetworkPolicy) bool { return replace(&have.Spec, open.Spec) })
}

// gatewaySpec lets all pods reach the gateway: at its address, and at those of its pods,
// for a policy sees a Service's packets after they were sent on.
func gatewaySpec(cfg Config) (networkingv1.NetworkPolicySpec, error) {
	address, err := gatewayAddress(cfg.GatewayURL)
	if err != nil {
		return networkingv1.NetworkPolicySpec{}, err
	}
	tcp := corev1.ProtocolTCP
	port := intstr.FromInt32(int32(address.Port()))
	to := []networkingv1.NetworkPolicyPeer{{
		IPBlock: &networkingv1.IPBlock{CIDR: netip.PrefixFrom(address.Addr(), address.Addr().BitLen()).String()},
	}}
	rules := []networkingv1.NetworkPolicyEgressRule{{To: to, Ports: []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &port}}}}
	if cfg.GatewayNamespace != "" {
		rules = append(rules, networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: cfg.GatewayNamespace}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{labelName: gatewayName}},
		}}})
	}
	return networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}, Egress: rules}, nil
}

// gatewayAddress reads the address out of the gateway's URL.
func gatewayAddress(base string) (netip.AddrPort, error) {
	u, err := url.Parse(base)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && base == u.Scheme+"://"+u.Host {
		if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil && port > 0 {
			if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
				return netip.AddrPortFrom(addr, uint16(port)), nil
			}
		}
	}
	return netip.AddrPort{}, fault.New(fault.Invalid, "", fmt.Sprintf("the gateway %q is no http:// or https://, an address and a port: pods have no DNS", base))
}
