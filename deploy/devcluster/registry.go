package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// serveNoRegistry answers every request for an image with "not found". There is
// no network to pull from; without this an unknown image would hang in name
// resolution and time-outs, and with it the pod shows ErrImagePull within a second.
func serveNoRegistry(port int) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("listen for image pulls: %w", err)
	}
	return http.Serve(listener, http.HandlerFunc(refuseImage))
}

func refuseImage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Content-Type", "application/json")
	if strings.TrimRight(r.URL.Path, "/") == "/v2" {
		fmt.Fprint(w, "{}")
		return
	}
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"this development cluster has no registry: load the image with devcluster load"}]}`)
}
