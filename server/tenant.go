package server

import (
	"context"
	"strings"
)

// defaultTenant owns the runs of callers who did not say who they are.
const defaultTenant = "default"

// runKey is a run's name within the server: what is one tenant's can't be named
// by another.
type runKey struct{ tenant, id string }

func keyOf(ctx context.Context, id string) runKey { return runKey{tenantOf(ctx), id} }

func (k runKey) String() string { return k.tenant + "/" + k.id }

func parseRunKey(s string) (runKey, bool) {
	tenant, id, ok := strings.Cut(s, "/")
	return runKey{tenant, id}, ok && validRunID(tenant) && validRunID(id)
}

// tenantOf is the tenant that a call is of.
func tenantOf(context.Context) string { return defaultTenant }
