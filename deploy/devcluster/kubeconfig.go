package main

import (
	"fmt"
	"os"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfigs lists the kubeconfigs of a cluster: file and certificate pair.
func kubeconfigs(l Layout) map[string]string {
	return map[string]string{
		l.Kubeconfig():                         "admin",
		l.Etc("kubelet.kubeconfig"):            "kubelet",
		l.Etc("controller-manager.kubeconfig"): "controller-manager",
		l.Etc("scheduler.kubeconfig"):          "scheduler",
	}
}

// writeKubeconfigs writes them with the certificates inside, so that a
// kubeconfig can be copied anywhere on the machine.
func writeKubeconfigs(l Layout, c Cluster) error {
	ca, err := os.ReadFile(l.PKI("ca.crt"))
	if err != nil {
		return fmt.Errorf("read CA: %w", err)
	}
	for path, pair := range kubeconfigs(l) {
		cert, err := os.ReadFile(l.PKI(pair + ".crt"))
		if err != nil {
			return fmt.Errorf("read certificate: %w", err)
		}
		key, err := os.ReadFile(l.PKI(pair + ".key"))
		if err != nil {
			return fmt.Errorf("read key: %w", err)
		}
		name := c.Context()
		raw, err := clientcmd.Write(clientcmdapi.Config{
			Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: c.URL(), CertificateAuthorityData: ca}},
			AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {ClientCertificateData: cert, ClientKeyData: key}},
			Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
			CurrentContext: name,
		})
		if err != nil {
			return fmt.Errorf("encode kubeconfig of %s: %w", pair, err)
		}
		if err := writeFile(path, raw, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// adminClient connects with the admin's kubeconfig.
func adminClient(l Layout) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to apiserver: %w", err)
	}
	return client, nil
}
