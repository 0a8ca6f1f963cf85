package kube

import (
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Client is a connection to a cluster.
type Client = kubernetes.Interface

// Connect returns a client for a kubeconfig file and a context in it; an empty
// context is the file's current one, an empty file is the pod's own service
// account. It makes no call.
func Connect(kubeconfig, context string, cfg Config) (Client, error) {
	var restConfig *rest.Config
	var err error
	if kubeconfig == "" {
		restConfig, err = rest.InClusterConfig()
	} else {
		restConfig, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
			&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig},
			&clientcmd.ConfigOverrides{CurrentContext: context},
		).ClientConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("load cluster configuration: %w", err)
	}
	restConfig.QPS, restConfig.Burst = cfg.QPS, cfg.Burst
	restConfig.UserAgent = managedBy
	restConfig.ContentType = "application/vnd.kubernetes.protobuf"
	restConfig.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return nil, fmt.Errorf("make cluster client: %w", err)
	}
	return client, nil
}
