package server

import (
	"multirate/estimator"
	pb "multirate/proto/multirate/v1"
)

// probeSeeds is the distance between the seeds of two probes: within a run,
// further random vectors take the next seeds.
const probeSeeds = 1 << 32

// probesOf is the number of random vectors that start asks for, 1 to 64. All
// their Ritz values together are no more than one reported run may have.
func (e *estimate) probesOf(v *violations, start *pb.EstimateSpectrumStart) int {
	probes := int(start.GetProbes())
	v.within("start.probes", int64(probes), 0, maxProbes, "0 means 1")
	probes = min(max(1, probes), maxProbes)
	if total := probes * e.products; total > maxCoefficients {
		v.add(ReasonOutOfRange, "start.probes", "times start.max_products is %d, at most %d products are allowed: ask for fewer of either", total, maxCoefficients)
	}
	return probes
}

// estimateProbes runs Lanczos from each random vector asked for, one run after
// the other, and joins their spectra. The first decides how many products the
// others take: where the scales have converged for one start, they have for most.
func (e *estimate) estimateProbes(link *link, way vectors) (estimator.Spectrum, error) {
	runs := make([]estimator.Spectrum, e.probes)
	for i := range runs {
		s, err := e.estimate(link, way)
		if err != nil {
			return estimator.Spectrum{}, err
		}
		runs[i] = s
		e.spent += s.Products
		e.seed += probeSeeds
		e.products = s.Products
	}
	spectrum, err := estimator.JoinProbes(runs...)
	if err != nil {
		return estimator.Spectrum{}, coreError(err)
	}
	return spectrum, nil
}
