package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"go.temporal.io/sdk/contrib/envconfig"

	"agentmarket/cmd/internal/wire"
	"agentmarket/infra/kube"
	"agentmarket/product"
)

const usage = `agentmarket: a marketplace for AI agents on Kubernetes

commands
  migrate            bring the database and Temporal's search attributes to this version
  api                serve the REST API
  worker             run workflows and activities, watch the cluster
  org create NAME    make an organization, print its first API key
  version, help

environment
  AGENTMARKET_DATABASE_URL         postgres://… or sqlite:///path            required
  AGENTMARKET_BLOB_URL             file:///path or s3://bucket?region=…      required
  AGENTMARKET_LISTEN               address of the API                        127.0.0.1:3000
  AGENTMARKET_RUNTIME_IMAGE        image of the supervisor, NAME@sha256:…    required by worker
  AGENTMARKET_RUNTIME_BY_COPY      true: for nodes without image volumes     false
  AGENTMARKET_RUNS_NAMESPACE       namespace of runs                         agentmarket-runs
  AGENTMARKET_MANAGE_NAMESPACE     true: the worker makes that namespace     false
  AGENTMARKET_JOB_TTL_SECONDS      how long finished Jobs stay, at least 3900 7200
  AGENTMARKET_CREATES_PER_SECOND   bound on calls to the cluster; 0: none    0
  AGENTMARKET_SMOKE_AGENT          publisher/name that POST /schedule-job starts; unset: it answers 404
  AGENTMARKET_TEMPORAL_WEB_URL     where people open the Temporal Web UI
  AGENTMARKET_KUBE_CONTEXT         context in KUBECONFIG                     its current one
  KUBECONFIG                       one file; unset: the pod's account
  TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_…     as for the temporal CLI
`

// configFromEnvironment reads the environment, and reports every value that
// cannot be read at once.
func configFromEnvironment() (cfg wire.Config, listen string, err error) {
	var errs []error
	temporal, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		errs = append(errs, fmt.Errorf("read Temporal configuration: %w", err))
	}
	if temporal.HostPort == "" {
		temporal.HostPort = "127.0.0.1:7233"
	}
	if temporal.Namespace == "" {
		temporal.Namespace = "default"
	}
	flag := func(name string) bool {
		value, err := strconv.ParseBool(orDefault(name, "false"))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s is neither true nor false", name))
		}
		return value
	}
	number := func(name, otherwise string) float64 {
		value, err := strconv.ParseFloat(orDefault(name, otherwise), 64)
		if err != nil || value < 0 || value > 1e6 {
			errs = append(errs, fmt.Errorf("%s is not a number from 0 to 1000000", name))
		}
		return value
	}
	cfg = wire.Config{
		DatabaseURL:    os.Getenv("AGENTMARKET_DATABASE_URL"),
		BlobURL:        os.Getenv("AGENTMARKET_BLOB_URL"),
		Temporal:       temporal,
		TemporalWebURL: os.Getenv("AGENTMARKET_TEMPORAL_WEB_URL"),
		Kubeconfig:     os.Getenv("KUBECONFIG"),
		KubeContext:    os.Getenv("AGENTMARKET_KUBE_CONTEXT"),
		Kube: kube.Config{
			Namespace:     os.Getenv("AGENTMARKET_RUNS_NAMESPACE"),
			RuntimeImage:  os.Getenv("AGENTMARKET_RUNTIME_IMAGE"),
			RuntimeByCopy: flag("AGENTMARKET_RUNTIME_BY_COPY"),
			JobTTL:        time.Duration(number("AGENTMARKET_JOB_TTL_SECONDS", "7200")) * time.Second,
		},
		ManageNamespace:  flag("AGENTMARKET_MANAGE_NAMESPACE"),
		Limits:           product.DefaultLimits(),
		SmokeAgent:       os.Getenv("AGENTMARKET_SMOKE_AGENT"),
		CreatesPerSecond: number("AGENTMARKET_CREATES_PER_SECOND", "0"),
	}
	cfg.Kube = cfg.Kube.WithDefaults()
	return cfg, orDefault("AGENTMARKET_LISTEN", "127.0.0.1:3000"), errors.Join(errs...)
}

func orDefault(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
