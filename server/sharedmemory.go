package server

import pb "multirate/proto/multirate/v1"

// wayFor chooses how vectors go.
func (s *Server) wayFor(l *link, e *estimate, start *pb.EstimateSpectrumStart) (vectors, error) {
	return chunked{link: l, format: e.format, size: e.chunk}, nil
}
