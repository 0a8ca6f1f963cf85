package simulate

import (
	"encoding/json"
	"net/http"

	"agentmarket/infra"
)

// Handler serves the cluster to other processes.
func (j *Jobs) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /create", func(w http.ResponseWriter, r *http.Request) {
		var s infra.Sandbox
		if decode(w, r, &s) {
			j.Create(s)
		}
	})
	mux.HandleFunc("POST /observe", func(w http.ResponseWriter, r *http.Request) {
		var ref infra.Ref
		if decode(w, r, &ref) {
			_ = json.NewEncoder(w).Encode(j.Observe(ref))
		}
	})
	mux.HandleFunc("POST /delete", func(w http.ResponseWriter, r *http.Request) {
		var ref infra.Ref
		if decode(w, r, &ref) {
			j.Delete(ref)
		}
	})
	mux.HandleFunc("GET /watch", j.serveWatch)
	return mux
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// serveWatch writes a line for everything that there is, and for every change.
func (j *Jobs) serveWatch(w http.ResponseWriter, r *http.Request) {
	now, changes := j.watch()
	defer j.unwatch(changes)
	lines := json.NewEncoder(w)
	flusher := http.NewResponseController(w)
	for _, c := range now {
		if lines.Encode(c) != nil {
			return
		}
	}
	if flusher.Flush() != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case c, ok := <-changes:
			if !ok || lines.Encode(c) != nil || flusher.Flush() != nil {
				return
			}
		}
	}
}
