# Read judgements, and say what data there is
from .table.readers import read_annotations as read_annotations
from .table.readers import read_outputs as read_outputs
from .table.style import style_features as style_features
from .table.style import add_features as add_features
from .table.counts import from_counts as from_counts
from .table.counts import from_patterns as from_patterns
from .table.collapsing import collapse as collapse
from .table.collapsing import collapse_files as collapse_files
from .sources.catalogue import catalog as catalog
from .sources.catalogue import load as load
from .sources.catalogue import load_result as load_result

# How often does a model win?
from .win_rates.estimates import win_rate as win_rate
from .win_rates.estimates import win_rate_bounds as win_rate_bounds
from .win_rates.two_models import compare as compare
from .win_rates.sequential import confidence_sequence as confidence_sequence
from .win_rates.dropping import dropped_to_reverse as dropped_to_reverse

# Which of many models are ordered?
from .win_rates.ranks import rank_sets as rank_sets
from .win_rates.ranks import pairwise_differences as pairwise_differences
from .win_rates.bradley_terry_ratings import bradley_terry as bradley_terry
from .win_rates.bradley_terry_ratings import Ratings as Ratings

# Is it the same in every slice?
from .inference.slices import Slices as Slices

# How many judgements are needed?
from .win_rates.plans import instructions_needed as instructions_needed
from .win_rates.plans import minimum_detectable_difference as minimum_detectable_difference
from .win_rates.plans import outcome_sd as outcome_sd
from .win_rates.plans import plan_comparison as plan_comparison
from .win_rates.plans import plan_order as plan_order
from .win_rates.plans import OrderPlan as OrderPlan

# Does the judge agree with people?
from .people.agreement import human_agreement as human_agreement
from .people.agreement import compare_agreement as compare_agreement
from .people.agreement_groups import agreement_by as agreement_by
from .people.agreement_groups import agreement_by_majority as agreement_by_majority
from .people.agreement_groups import confusion as confusion
from .people.reliability import agreement_ceiling as agreement_ceiling
from .people.reliability import krippendorff_alpha as krippendorff_alpha
from .people.alternative_annotator import alternative_test as alternative_test

# What do several judges say together?
from .biases.panels import panel as panel
from .biases.panels import dawid_skene as dawid_skene
from .biases.panels import DawidSkene as DawidSkene
from .biases.panel_size import effective_judges as effective_judges
from .biases.panel_size import panel_without_each as panel_without_each
from .biases.replaced import equate as equate
from .biases.replaced import Equated as Equated

# What would people say?
from .people.calibration import calibrated_win_rate as calibrated_win_rate
from .people.calibration import label_budget as label_budget
from .decisions.calibrated import compare_calibrated as compare_calibrated
from .decisions.calibrated import calibrated_rank_sets as calibrated_rank_sets
from .people.corrected import rogan_gladen as rogan_gladen
from .people.corrected import rogan_gladen_win_rate as rogan_gladen_win_rate

# Do win rates follow human ones?
from .correlations.estimates import win_rate_correlation as win_rate_correlation
from .correlations.estimates import Correlation as Correlation
from .correlations.estimates import correlation_from_rows as correlation_from_rows
from .correlations.comparisons import compare_correlations as compare_correlations
from .correlations.partial import partial_correlation as partial_correlation
from .correlations.comparisons import restrict_range as restrict_range
from .correlations.instructions import discrimination as discrimination
from .correlations.instructions import fewer_instructions as fewer_instructions

# What moves a judge?
from .length.preferences import prefer as prefer
from .length.preferences import prefer_longer as prefer_longer
from .length.preferences import prefer_lists as prefer_lists
from .length.preferences import prefer_first as prefer_first
from .length.preferences import response_curve as response_curve
from .biases.order import order_consistency as order_consistency
from .biases.order import order_rules as order_rules
from .biases.own_family import self_preference as self_preference
from .biases.own_family import model_families as model_families
from .biases.noise import judge_noise as judge_noise
from .biases.noise import repeats_or_instructions as repeats_or_instructions
from .biases.cycles import cycles as cycles
from .length.regression import length_regression as length_regression
from .length.beyond_people import bias_beyond_humans as bias_beyond_humans
from .length.over_models import model_length_regression as model_length_regression
from .length.over_models import gameability as gameability

# Who wins at equal length?
from .length.control.as_published import fit_as_alpaca_eval as fit_as_alpaca_eval
from .length.control.fitting import fit_length_control as fit_length_control
from .length.control.fitting import published_length_control as published_length_control
from .length.control.result import LengthControl as LengthControl
from .length.control.by_feature import control_by_feature as control_by_feature
from .length.control.specification import specification_curve as specification_curve
from .length.control.transfer import transfer_length_control as transfer_length_control
from .length.control.transfer import validate_transfer as validate_transfer

# Do printed numbers hold?
from .claims.win_rates import check_claims as check_claims
from .claims.win_rates import check_first as check_first
from .claims.win_rates import check_averages as check_averages
from .claims.correlations import check_correlation as check_correlation
from .claims.values import check_values as check_values
from .claims.win_rates import possible_n as possible_n
from .claims.win_rates import chance_possible as chance_possible
from .claims.leaderboards import audit_leaderboard as audit_leaderboard

# Read the pairs
from .explorers.browser import browse as browse
from .explorers.browser import Browser as Browser
from .explorers.labelling import label as label
from .explorers.labelling import Labeller as Labeller

# Everything at once
from .audits.auditing import audit as audit
from .audits.auditing import Audit as Audit
from .audits.sliced import AuditSlices as AuditSlices
from .explorers.explorer import explore as explore
from .explorers.explorer import Explorer as Explorer

# Ask models: for outputs, for judgements
from .generating.run import generate as generate
from .generating.run import Generated as Generated
from .generating.backends import ServerBackend as ServerBackend
from .generating.backends import FunctionBackend as FunctionBackend
from .generating.local import TransformersBackend as TransformersBackend
from .generating.local import VLLMBackend as VLLMBackend
from .generating.conversation import vicuna_prompt as vicuna_prompt
from .judging.run import judge as judge
from .judging.stopping import Decided as Decided
from .judging.verdicts import read_verdict as read_verdict
from .judging.verdicts import Verdict as Verdict
from .judging.records import Judgements as Judgements
from .judging.judges import ChatJudge as ChatJudge
from .judging.alpaca_eval_judge import AlpacaEvalJudge as AlpacaEvalJudge
from .judging.judges import FunctionJudge as FunctionJudge
from .judging.judges import RandomJudge as RandomJudge

# Show and export
from . import figures as figures
from .present.tables import show as show
from .present.data_sets import to_dataset as to_dataset
from .explorers.comparator import to_comparator as to_comparator
from .present.tables import to_csv as to_csv
from .present.tables import to_html as to_html
from .present.tables import to_latex as to_latex
from .present.tables import to_leaderboard as to_leaderboard
from .present.tables import to_markdown as to_markdown

# Errors and warnings
from .foundations.errors import AnnotationError as AnnotationError
from .generating.conversation import ConversationError as ConversationError
from .foundations.errors import DataUnavailableError as DataUnavailableError
from .generating.run import GenerateWarning as GenerateWarning
from .judging.run import JudgeWarning as JudgeWarning
from .asking.server import ServerError as ServerError
from .asking.server import ServerRefused as ServerRefused
from .foundations.errors import StoppedWarning as StoppedWarning
from .foundations.errors import UndefinedWarning as UndefinedWarning

__version__: str
