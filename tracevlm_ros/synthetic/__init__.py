"""A world of textured objects with known truth, for training, tests, benchmarks and the demo.

``scene`` draws what there is, ``render`` pictures it, ``words`` says it, ``attention`` looks and
points at it; ``clip`` sets it in motion and ``gaze`` follows it. Every part is a pure function of
its seed and needs only numpy and OpenCV.
"""
