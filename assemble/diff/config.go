package diff

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/subject"
)

func (c *comparison) config(context.Context) error {
	if c.a.image == nil || c.b.image == nil {
		c.leaveOut("configuration: a lock has none")
		return nil
	}
	c.out.Config = mapChanges("", settings(c.a.image), settings(c.b.image))
	return nil
}

// mapChanges lists what differs, in the order of keys.
func mapChanges(prefix string, a, b map[string]string) []Change {
	out := []Change{}
	keys := slices.Sorted(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		x, inA := a[k]
		y, inB := b[k]
		if inA && inB && x == y {
			continue
		}
		ch := Change{Key: prefix + k}
		if inA {
			ch.A = &x
		}
		if inB {
			ch.B = &y
		}
		out = append(out, ch)
	}
	return out
}

// settings is everything in an image's configuration and manifest but its
// layers, as keys and values.
func settings(img *subject.Image) map[string]string {
	c := &img.Config.Config
	out := map[string]string{}
	for key, value := range map[string]string{
		"author": img.Config.Author, "os": img.Config.OS, "architecture": img.Config.Architecture, "variant": img.Config.Variant,
		"user": c.User, "working directory": c.WorkingDir, "stop signal": c.StopSignal, "hostname": c.Hostname,
		"entrypoint": subject.Words(c.Entrypoint), "cmd": subject.Words(c.Cmd), "shell": subject.Words(c.Shell), "onbuild": subject.Words(c.OnBuild),
		"media type": string(img.Manifest.MediaType),
	} {
		if value != "" {
			out[key] = value
		}
	}
	if !img.Config.Created.IsZero() {
		out["created"] = img.Config.Created.UTC().Format("2006-01-02T15:04:05Z")
	}
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		out["env "+name] = value
	}
	addSet(out, "volume ", c.Volumes)
	addSet(out, "port ", c.ExposedPorts)
	for k, v := range c.Labels {
		out["label "+k] = v
	}
	for k, v := range img.Manifest.Annotations {
		out["annotation "+k] = v
	}
	if h := c.Healthcheck; h != nil {
		out["healthcheck"] = healthcheck(h)
	}
	return out
}

func addSet(out map[string]string, prefix string, set map[string]struct{}) {
	for k := range set {
		out[prefix+k] = "yes"
	}
}

func healthcheck(h *v1.HealthConfig) string {
	return fmt.Sprintf("%s interval %s timeout %s start period %s retries %d", subject.Words(h.Test), h.Interval, h.Timeout, h.StartPeriod, h.Retries)
}
