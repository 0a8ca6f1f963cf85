package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// The supervisor is told what to do over HTTP on a unix socket that only root
// opens: GET /status, POST /hold, POST /release and POST /stop.

// holdRequest kills a component and keeps it down; also used for release.
type holdRequest struct {
	Name string        `json:"name"`
	For  time.Duration `json:"for"` // nanoseconds
}

// stopRequest ends components for good; none named means all and the supervisor.
type stopRequest struct {
	Names []string `json:"names"`
}

// supervisorStatus is the answer to GET /status.
type supervisorStatus struct {
	PID        int      `json:"pid"`
	Components []status `json:"components"`
}

// serveControl answers until quit is called by a request that stops everything.
func serveControl(s *supervisor, listener net.Listener, quit func()) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, s.log, supervisorStatus{PID: os.Getpid(), Components: s.list()}, nil)
	})
	mux.HandleFunc("POST /hold", func(w http.ResponseWriter, r *http.Request) {
		var req holdRequest
		err := json.NewDecoder(r.Body).Decode(&req)
		if err == nil {
			err = s.hold(req.Name, req.For)
		}
		answer(w, s.log, struct{}{}, err)
	})
	mux.HandleFunc("POST /release", func(w http.ResponseWriter, r *http.Request) {
		var req holdRequest
		err := json.NewDecoder(r.Body).Decode(&req)
		if err == nil {
			err = s.release(req.Name)
		}
		answer(w, s.log, struct{}{}, err)
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, r *http.Request) {
		var req stopRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			answer(w, s.log, struct{}{}, err)
			return
		}
		if len(req.Names) > 0 {
			s.stop(req.Names)
			answer(w, s.log, struct{}{}, nil)
			return
		}
		s.stop(stopOrder())
		answer(w, s.log, struct{}{}, nil)
		quit()
	})
	server := &http.Server{Handler: mux}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("control socket closed", "error", err)
		}
	}()
	return server
}

func answer(w http.ResponseWriter, log *slog.Logger, body any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Error("answer not written", "error", err)
	}
}

// control is the client of a supervisor.
type control struct {
	http *http.Client
}

func newControl(l Layout) control {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", l.ControlSocket())
	}
	return control{http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// status fails where no supervisor runs.
func (c control) status(ctx context.Context) (supervisorStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var st supervisorStatus
	err := c.do(ctx, http.MethodGet, "/status", nil, &st)
	return st, err
}

func (c control) hold(ctx context.Context, name string, d time.Duration) error {
	return c.do(ctx, http.MethodPost, "/hold", holdRequest{Name: name, For: d}, nil)
}

func (c control) release(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodPost, "/release", holdRequest{Name: name}, nil)
}

// stop returns when the processes have ended.
func (c control) stop(ctx context.Context, names ...string) error {
	return c.do(ctx, http.MethodPost, "/stop", stopRequest{Names: names}, nil)
}

func (c control) do(ctx context.Context, method, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("build request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask supervisor: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("ask supervisor: %s", bytes.TrimSpace(text))
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("decode supervisor's answer: %w", err)
	}
	return nil
}
