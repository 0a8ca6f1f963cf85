package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// clusterStatus is what status prints; its JSON form is meant for scripts.
type clusterStatus struct {
	Cluster
	URL        string   `json:"url"`
	Context    string   `json:"context"`
	Kubeconfig string   `json:"kubeconfig"`
	Running    bool     `json:"running"` // a supervisor answers
	Ready      bool     `json:"ready"`   // every component is ready
	Components []status `json:"components"`
}

// errNotReady makes the command's exit code tell what its output says.
var errNotReady = errors.New("cluster is not ready")

func observeStatus(ctx context.Context, l Layout) (clusterStatus, error) {
	c, err := requireCluster(l)
	if err != nil {
		return clusterStatus{}, err
	}
	s := clusterStatus{Cluster: c, URL: c.URL(), Context: c.Context(), Kubeconfig: l.Kubeconfig(), Components: []status{}}
	st, err := newControl(l).status(ctx)
	if err != nil {
		return s, nil //nolint:nilerr // no supervisor: not running, which is an answer
	}
	s.Running, s.Ready, s.Components = true, true, st.Components
	for _, component := range st.Components {
		if component.Phase != phaseReady {
			s.Ready = false
		}
	}
	return s, nil
}

func printStatus(w io.Writer, s clusterStatus, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(s); err != nil {
			return fmt.Errorf("encode status: %w", err)
		}
		return nil
	}
	state := "down"
	switch {
	case s.Ready:
		state = "ready"
	case s.Running:
		state = "running, not ready"
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "cluster\t%s (%s)\nstate\t%s\n", s.Name, state, s.State)
	fmt.Fprintf(tw, "node\t%s\npods\t%s\ngateway\t%s:%d\n", s.NodeIP, s.PodCIDR, s.NodeIP, s.GatewayPort)
	fmt.Fprintf(tw, "apiserver\t%s\nkubeconfig\t%s\n", s.URL, s.Kubeconfig)
	for _, c := range s.Components {
		fmt.Fprintf(tw, "%s\t%s for %s, pid %d, %d restarts\n",
			c.Name, c.Phase, time.Since(c.Since).Round(time.Second), c.PID, c.Restarts)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print status: %w", err)
	}
	return nil
}
