package kube

import (
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Client is a connection to a cluster.
type Client = kubernetes.Interface

// MetadataClient is a connection that reads no more of objects than their metadata.
type MetadataClient = metadata.Interface

// Connect returns a client for a kubeconfig file and a context in it; an empty
// context is the file's current one, an empty file is the pod's own service
// account. It makes no call.
func Connect(kubeconfig, context string, cfg Config) (Client, error) {
	restConfig, err := load(kubeconfig, context, cfg)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return nil, fmt.Errorf("make cluster client: %w", err)
	}
	return client, nil
}

// ConnectMetadata is Connect for metadata alone.
func ConnectMetadata(kubeconfig, context string, cfg Config) (MetadataClient, error) {
	restConfig, err := load(kubeconfig, context, cfg)
	if err != nil {
		return nil, err
	}
	client, err := metadata.NewForConfig(restConfig)
	if err != nil {
		return nil, fmt.Errorf("make cluster client: %w", err)
	}
	return client, nil
}

// load reads the configuration of a connection.
func load(kubeconfig, context string, cfg Config) (*rest.Config, error) {
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
	return restConfig, nil
}
