package gateway

// Cached is how many answers the authorizers' caches hold.
func (g *Gateway) Cached() int {
	n := 0
	for _, a := range g.authorizers {
		a.mu.Lock()
		n += len(a.cache)
		a.mu.Unlock()
	}
	return n
}
