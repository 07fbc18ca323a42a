package admission

import (
	"container/list"
	"sync"
	"time"
)

// decision is what is kept about an image: little, whatever the verdict held.
type decision struct {
	passed bool
	reason string
}

// maxReason bounds the reason that is kept and shown, in bytes.
const maxReason = 2000

// cache keeps the decisions that were used last. Its size is bounded by the
// number of entries, whose size is bounded too.
type cache struct {
	mu      sync.Mutex
	entries map[string]*list.Element
	order   *list.List // of *cached, used last in front
	size    int
	now     func() time.Time
}

type cached struct {
	key     string
	value   decision
	expires time.Time
}

func newCache(size int, now func() time.Time) *cache {
	return &cache{entries: map[string]*list.Element{}, order: list.New(), size: size, now: now}
}

func (c *cache) get(key string) (decision, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return decision{}, false
	}
	entry := e.Value.(*cached)
	if !c.now().Before(entry.expires) {
		c.remove(e)
		return decision{}, false
	}
	c.order.MoveToFront(e)
	return entry.value, true
}

func (c *cache) put(key string, value decision, ttl time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		c.remove(e)
	}
	c.entries[key] = c.order.PushFront(&cached{key, value, c.now().Add(ttl)})
	for len(c.entries) > c.size {
		c.remove(c.order.Back())
	}
}

func (c *cache) remove(e *list.Element) {
	c.order.Remove(e)
	delete(c.entries, e.Value.(*cached).key)
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}
