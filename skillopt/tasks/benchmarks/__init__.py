"""The benchmarks of the SkillOpt paper, one folder each. The ids of their splits are Microsoft's,
see ``LICENSE-SkillOpt.txt``; no row of a benchmark is here.
"""
